'use strict';
// The message of a transaction: its envelope and, from onEndOfHeaders on, its header section.

const { Mailbox } = require('./addresses');
const { Bag } = require('./bag');
const { Header } = require('./header');

/** The message of a transaction. What an agent edits it sees at once. */
class Message {
  constructor(session) {
    this.session = session;
    this.id = ''; // the relay's, as in its log and its reply
    this.envelopeId = ''; // ENVID, RFC 3461 §4.4
    this.header = new Header(this); // empty before onEndOfHeaders
    this.bag = new Bag(session, 'message');
    this.from = new Mailbox('');
    // Recipients the relay knows and those that were added, and what is in their place now.
    this.slots = [];
    this.before = null; // sender and slots before the handler's first edit
  }

  take(envelope) {
    this.id = envelope.message_id;
    this.envelopeId = envelope.envelope_id;
    this.from = Mailbox.of(envelope.from);
    this.slots = envelope.recipients.map((box) => ({ id: box.id, now: [Mailbox.of(box)], listed: true, sent: true }));
  }

  /** The sender of the envelope. Set an address to change it, "" for the null sender. */
  get sender() { return this.from; }

  set sender(address) {
    this.touch();
    this.from = new Mailbox(String(address), 0, this.from.params);
  }

  /** The recipients as they are now: a new list of Mailboxes. */
  get recipients() {
    return this.slots.filter((slot) => slot.listed).flatMap((slot) => slot.now);
  }

  addRecipient(address) {
    this.touch();
    this.slots.push({ id: 0, now: [new Mailbox(address)], listed: true, sent: false });
  }

  /** Takes a recipient out of the envelope. It gets no mail and no notice. */
  removeRecipient(recipient) { this.replaceRecipient(recipient); }

  /** Puts others in the place of a recipient: one for an alias, many for a list. */
  replaceRecipient(recipient, ...addresses) {
    this.touch();
    const [slot, i] = this.find(recipient);
    slot.now.splice(i, 1, ...addresses.map((a) => new Mailbox(a, 0, recipient.params, recipient.original)));
    slot.sent = false;
  }

  find(recipient) {
    for (const slot of this.slots) {
      const i = slot.now.findIndex((r) => r === recipient || (recipient.id && r.id === recipient.id));
      if (i >= 0 && !(slot.sent && !(slot.id && recipient.id))) return [slot, i];
    }
    if (!recipient.id) throw new Error(`${recipient.address} is no recipient that the relay has numbered`);
    // The one in question at RCPT is not in the list yet.
    const slot = { id: recipient.id, now: [recipient], listed: false, sent: true };
    this.slots.push(slot);
    return [slot, 0];
  }

  touch() {
    this.session.mayEdit();
    if (!this.before) {
      this.before = { from: this.from, slots: this.slots.map((slot) => ({ slot, now: [...slot.now], sent: slot.sent })) };
    }
  }

  rollBack() {
    this.header.restore();
    if (!this.before) return;
    this.from = this.before.from;
    this.slots = this.before.slots.map(({ slot, now, sent }) => Object.assign(slot, { now, sent }));
    this.before = null;
  }

  edits() {
    const edits = [];
    if (this.before) {
      if (this.from !== this.before.from) edits.push({ set_sender: { address: this.from.address } });
      for (const slot of this.slots.filter((s) => !s.sent)) edits.push(...recipientEdits(slot));
    }
    return edits.concat(this.header.edits());
  }

  commit() {
    this.before = null;
    for (const slot of this.slots) slot.sent = true;
    this.header.commit();
  }
}

function recipientEdits(slot) {
  const boxes = slot.now.map((r) => ({ address: r.address }));
  if (slot.id === 0) return boxes.map((box) => ({ add_recipient: box }));
  if (boxes.length === 0) return [{ remove_recipient: { recipient_id: slot.id } }];
  return [{ replace_recipient: { recipient_id: slot.id, with: boxes } }];
}

module.exports = { Message };
