'use strict';
// Mailboxes of the envelope, and lists of domains.

const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\u0080-\\uffff-]+";
const DOT_STRING = new RegExp(`^${ATOM}(\\.${ATOM})*$`);

/** The local part, without quotes, and the domain. An address without a domain is all local part. */
function split(address) {
  if (!address.startsWith('"')) {
    const at = address.lastIndexOf('@');
    return at < 0 ? [address, ''] : [address.slice(0, at), address.slice(at + 1)];
  }
  let local = '';
  for (let i = 1; i < address.length; i++) {
    if (address[i] === '\\' && i + 1 < address.length) {
      i++; // quoted-pair, RFC 5321 §4.1.2
    } else if (address[i] === '"') {
      return [local, address.slice(i + 1).replace(/^@/, '')];
    }
    local += address[i];
  }
  return [local, ''];
}

/** An address, with quotes where the local part is no Dot-string (RFC 5321 §4.1.2). */
function join(local, domain) {
  if (!DOT_STRING.test(local)) local = `"${local.replace(/["\\]/g, '\\$&')}"`;
  return domain ? `${local}@${domain}` : local;
}

/** Whether a list of "example.org" and "*.example.org" has the domain. */
function matches(domains, domain) {
  domain = domain.toLowerCase();
  return domains.some((d) => {
    d = d.toLowerCase();
    return d.startsWith('*.') ? domain.length > d.length - 1 && domain.endsWith(d.slice(1)) : d === domain;
  });
}

/** An address of the envelope with its ESMTP parameters. */
class Mailbox {
  /**
   * @param {string} address without <>, quoted where it must be; "" is the null sender
   * @param {number} id the relay's number of a recipient; 0: it has none yet
   * @param {Map<string, string>} params by upper-case key
   * @param {string} original what the client gave, where an agent has replaced it
   */
  constructor(address, id = 0, params = new Map(), original = '') {
    this.address = address;
    this.id = id;
    this.params = params;
    this.original = original || address;
  }

  static of(box) {
    if (!box) return new Mailbox('');
    return new Mailbox(box.address, box.id, new Map(box.params.map((p) => [p.key.toUpperCase(), p.value])), box.original);
  }

  get local() { return split(this.address)[0]; }

  get domain() { return split(this.address)[1]; }

  toString() { return this.address; }
}

module.exports = { split, join, matches, Mailbox };
