'use strict';
// One SMTP session as the agent sees it.

const { Mailbox } = require('./addresses');
const { Bag } = require('./bag');
const { Message } = require('./message');
const { SCOPES } = require('./wire');

/** One SMTP session. It is valid in the handler it is given to. */
class Session {
  /** @param {AbortSignal} signal aborts when the relay gives the session up */
  constructor(start, agent, signal) {
    this.id = start.session_id; // as in the relay's log
    this.resumed = start.resumed; // another process of this agent saw the beginning
    this.agent = agent; // the installed name
    this.signal = signal;
    this.message = null; // that of the running transaction; null between two
    this.deadline = null; // of the running handler, in performance.now(); null: no limit
    this.bag = new Bag(this, 'session');
    this.connection = {};
    this.client = {};
    this.properties = []; // edits of the bags, with what was there before
    this.watching = false;
    this.takeProperties(start.properties);
  }

  /** The client's address, of the real client behind a proxy; null if unknown. */
  get remoteIp() { return ip(this.connection.remote_ip); }
  get remotePort() { return this.connection.remote_port || 0; }
  get localIp() { return ip(this.connection.local_ip); }
  get localPort() { return this.connection.local_port || 0; }
  /** The client's name, as a trusted hop has told it. */
  get remoteHost() { return this.connection.remote_host || ''; }
  /** The last hop outside the relay's own networks. */
  get lastExternalIp() { return ip(this.connection.last_external_ip); }
  /** Who told the client's address, by PROXY or XCLIENT; null: nobody. */
  get proxyIp() { return ip(this.connection.proxy_ip); }
  /** The listener's address, as configured. */
  get listener() { return this.connection.listener || ''; }
  /** The client may send to any domain. */
  get internal() { return Boolean(this.connection.internal); }
  /** The client spoke before the banner. */
  get earlyTalker() { return Boolean(this.connection.early_talker); }
  get implicitTls() { return Boolean(this.connection.implicit_tls); }
  /** When the client connected. */
  get started() { return new Date(Number(this.connection.started_unix_ms || 0)); }
  /** The argument of HELO or EHLO. */
  get hello() { return this.client.hello || ''; }
  /** The client said EHLO. */
  get esmtp() { return Boolean(this.client.esmtp); }
  /** Who the client has authenticated as; empty if it has not. */
  get authUser() { return this.client.auth_user || ''; }
  get authMechanism() { return this.client.auth_mechanism || ''; }

  /** What the TLS handshake came to; null if there is no TLS. */
  get tls() {
    const c = this.client;
    if (!c.tls_version) return null;
    return {
      version: c.tls_version, cipher: c.tls_cipher, serverName: c.tls_sni,
      peerCertificate: c.tls_peer_certificate, peerVerified: c.tls_peer_verified,
    };
  }

  /** Milliseconds until the relay gives the running handler up; null: no limit. */
  get timeLeft() { return this.deadline === null ? null : this.deadline - performance.now(); }

  /** The message for a handler that needs one. */
  inHand() {
    if (!this.message) this.message = new Message(this);
    return this.message;
  }

  /** Brings the session up to what is attached to an event; mail: it is a MAIL. */
  take(event, mail) {
    if (event.connection) this.connection = event.connection;
    if (event.client) this.client = event.client;
    if (event.envelope) {
      this.takeEnvelope(event.envelope);
    } else if (mail) {
      this.message = new Message(this);
      this.message.from = Mailbox.of(event.mail);
    }
    if (event.headers) this.inHand().header.take(event.headers);
    this.takeProperties(event.properties);
  }

  takeEnvelope(envelope) {
    if (!envelope.from && envelope.recipients.length === 0 && !envelope.message_id) {
      this.message = null; // the transaction is over
      return;
    }
    if (!this.message || this.message.id !== envelope.message_id) this.message = new Message(this);
    this.message.take(envelope);
  }

  takeProperties(properties) {
    for (const p of properties) {
      const bag = p.scope === SCOPES.message ? this.inHand().bag : this.bag;
      bag.put(p.key, p.removed ? undefined : Buffer.from(p.value));
    }
  }

  mayEdit() {
    if (this.watching) {
      throw new Error('a handler that only watches cannot edit the message: it runs when the event may be long over');
    }
  }

  /** Takes back what a handler did that has failed. */
  rollBack(properties) {
    for (const { bag, full, before } of this.properties.splice(properties).reverse()) bag.put(full, before);
    if (this.message) this.message.rollBack();
  }

  /** The edits of the handlers, for a verdict. */
  edits() {
    const message = this.message ? this.message.edits() : [];
    return message.concat(this.properties.map((p) => p.edit));
  }

  /** Ends a handler's turn: its edits go out. */
  commit() {
    if (this.message) this.message.commit();
    this.properties = [];
  }
}

/** An address as text; one of IPv4 within IPv6 as that of IPv4. */
function ip(bytes) {
  if (!bytes || bytes.length === 0) return null;
  const mapped = bytes.length === 16 && bytes.readUInt16BE(10) === 0xffff && bytes.subarray(0, 10).every((b) => b === 0);
  if (bytes.length === 4 || mapped) return [...bytes.subarray(-4)].join('.');
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16)).join(':');
  return new URL(`http://[${groups}]`).hostname.slice(1, -1); // in its shortest form, RFC 5952
}

module.exports = { Session };
