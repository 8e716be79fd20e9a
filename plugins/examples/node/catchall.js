#!/usr/bin/env node
'use strict';
// Delivers alias_tag@domain to alias@domain and marks the Subject with the tag. What it does in
// detail says the manual of the catchall that comes with the relay, plugins/catchall/README.md:
// this is the same agent, in JavaScript.

const relayagent = require('./relayagent');

const MAX_ENCODED_LINE = 76; // RFC 2047 §2
const MAX_LINE = 998; // RFC 5322 §2.1.1

class Catchall {
  constructor(setup) {
    const s = setup.settings({ separator: '_', domains: [], tag_format: '[{tag}] ', leave_alone: [] });
    check(s);
    this.separator = s.separator;
    this.format = s.tag_format;
    this.domains = s.domains.length ? s.domains : setup.acceptedDomains;
    this.leaveAlone = new Set(s.leave_alone.map((local) => local.toLowerCase()));
  }

  /** Rewrites each tagged recipient, and marks the Subject where all agree on the tag. */
  async onEndOfHeaders(message) {
    const recipients = message.recipients.map((r) => ({ r, parts: this.parts(r) }));
    const tagged = recipients.filter(({ parts }) => parts);
    const untagged = recipients.filter(({ parts }) => !parts);
    const taken = new Set(untagged.map(({ r }) => key(r.address)));
    const tags = new Set(tagged.map(({ parts }) => parts.tag));
    for (const { r, parts } of tagged) {
      const address = relayagent.join(parts.alias, r.domain);
      if (taken.has(key(address))) {
        message.removeRecipient(r); // two tags of one alias are one mailbox: one copy
      } else {
        taken.add(key(address));
        message.replaceRecipient(r, address);
      }
    }
    // Everybody gets the same Subject: people outside are not shown under which addresses
    // somebody here is written to.
    if (tags.size === 1 && untagged.every(({ r }) => this.takes(r))) this.mark(message.header, clean([...tags][0]));
  }

  takes(recipient) {
    return recipient.domain !== '' && relayagent.matches(this.domains, recipient.domain);
  }

  /** The alias and the tag of a recipient that is to be rewritten; else null. */
  parts(recipient) {
    const { local } = recipient;
    if (!this.takes(recipient) || this.leaveAlone.has(local.toLowerCase())) return null;
    const at = local.indexOf(this.separator);
    const alias = local.slice(0, Math.max(at, 0));
    const tag = local.slice(at + this.separator.length);
    return alias && tag ? { alias, tag } : null;
  }

  /** Puts the tag before the Subject. */
  mark(header, tag) {
    if (!tag) return; // nothing of it can be shown
    const mark = this.format.replaceAll('{tag}', () => tag);
    const subject = header.field('Subject');
    if (!subject) header.add('Subject', trimRight(mark));
    else if (!subject.text) subject.text = trimRight(mark);
    else if (!begins(subject.text, mark)) subject.raw = prefix(subject.name.length + 2, mark, subject.raw);
  }
}

/** Refuses every value that cannot be meant. */
function check(s) {
  const problems = [];
  const wrong = (field, problem) => problems.push({ field, problem });
  const quoted = JSON.stringify;
  if (!s.separator || /[@" \\\0-\x1f\x7f]/.test(s.separator)) {
    wrong('separator', `must be one or more characters other than @, quote, backslash and space, such as "_" or "+", not ${quoted(s.separator)}`);
  }
  if (!s.tag_format.includes('{tag}')) wrong('tag_format', `must contain {tag}, as in "[{tag}] ", not ${quoted(s.tag_format)}`);
  if (/[\0-\x1f\x7f]/.test(s.tag_format)) wrong('tag_format', 'must not contain control characters');
  for (const d of s.domains) {
    if (!/^[^@* ]+$/.test(d.replace(/^\*\./, ''))) wrong('domains', `must be names such as "example.org" or "*.example.org", not ${quoted(d)}`);
  }
  for (const local of s.leave_alone) {
    if (!local || local.includes('@')) wrong('leave_alone', `must be local parts, without @ and domain, not ${quoted(local)}`);
  }
  if (problems.length) throw new relayagent.SettingsError(problems);
}

/** An address for comparing: only the domain has no case (RFC 5321 §2.4). */
function key(address) {
  const [local, domain] = relayagent.split(address);
  return relayagent.join(local, domain.toLowerCase());
}

const trimRight = (text) => text.replace(/ +$/, '');

/** Whether a text is marked already. "shop " is not the beginning of "shopping". */
function begins(text, mark) {
  const alone = trimRight(mark);
  return text.startsWith(alone) && (alone === mark || /^([ \t]|$)/.test(text.slice(alone.length)));
}

/** A raw Subject with the mark before it; the original's bytes stay as they are. */
function prefix(column, mark, raw) {
  const rest = raw.replace(/^[ \t]+/, '');
  const text = rest.replace(/^[ \t\r\n]+/, '');
  const encoded = text.startsWith('=?');
  const alone = trimRight(mark);
  let gap;
  if (!plain(mark)) {
    // White space between encoded words is not shown (RFC 2047 §6.2): that of the mark goes
    // inside its word.
    mark = relayagent.encodedWords(encoded ? mark : alone);
    gap = ' ';
  } else {
    gap = mark.slice(alone.length) || (encoded ? ' ' : '');
    mark = alone;
  }
  if (rest !== text) return ` ${mark}${rest}`; // the original begins with a fold, which is the gap
  const [first] = rest.split('\r\n', 1);
  const line = column + mark.length + gap.length + first.length;
  if (gap && (line > MAX_LINE || (line > MAX_ENCODED_LINE && (mark + first).includes('=?')))) gap = `\r\n${gap}`;
  return ` ${mark}${gap}${rest}`;
}

function plain(mark) {
  return /^[ -~]*$/.test(mark) && !mark.includes('=?');
}

/** A tag fit to be shown: without controls, and without what would turn the writing around it. */
function clean(tag) {
  return tag.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '');
}

relayagent.serve({
  name: 'catchall',
  agent: Catchall,
  description: 'delivers alias_tag@domain to alias@domain and puts [tag] before the Subject',
  asks: ['change_headers', 'change_recipients'],
  changesRecipientsAt: 'onEndOfHeaders',
  headers: ['Subject'],
});
