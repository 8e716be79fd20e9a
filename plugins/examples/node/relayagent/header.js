'use strict';
// The header section of a message, in its order and byte for byte.

const words = require('./words');

/** One header field. */
class Field {
  constructor(header, id, name, raw, bottom = false) {
    this.header = header;
    this.id = id;
    this.name = name;
    this.value = raw;
    this.sent = id ? raw : null; // the value the relay has; null: it has none
    this.bottom = bottom;
  }

  /** What stands after the colon, one character for each byte, without the line end. */
  get raw() { return this.value; }

  set raw(value) {
    this.header.touch(this);
    this.value = value;
  }

  /** The value unfolded, with encoded words decoded, without white space around it. */
  get text() { return words.decode(this.value); }

  set text(text) { this.raw = words.encode(this.name, text); }

  remove() {
    this.header.touch(this);
    this.header.list = this.header.list.filter((f) => f !== this);
  }
}

/** The header section. What is not edited stays as it came; names have no case. */
class Header {
  constructor(message) {
    this.message = message;
    this.block = null; // parsed when first asked for: many handlers never look
    this.list = [];
    this.sent = [];
    this.before = null;
  }

  take(block) { this.block = block; }

  /** The fields from top to bottom. */
  get fields() { return [...this.all()]; }

  /** The first field of the name; undefined if there is none. */
  field(name) {
    name = name.toLowerCase();
    return this.all().find((f) => f.name.toLowerCase() === name);
  }

  /** The decoded text of the first field of the name; "" if there is none. */
  text(name) {
    const field = this.field(name);
    return field ? field.text : '';
  }

  /** Changes the first field of the name in its place; adds one at the top if there is none. */
  setText(name, text) {
    const field = this.field(name);
    if (field) field.text = text;
    else this.add(name, text);
  }

  /** Adds a field at the top, as trace fields are added. */
  add(name, text) { return this.addRaw(name, words.encode(name, text)); }

  /** Adds a field at the bottom. */
  addLast(name, text) { return this.addRaw(name, words.encode(name, text), true); }

  /** Adds a field with a value that brings its own leading space. */
  addRaw(name, value, bottom = false) {
    this.touch();
    const field = new Field(this, 0, name, value, bottom);
    if (bottom) this.list.push(field);
    else this.list.unshift(field);
    return field;
  }

  /** Removes every field of the name and returns how many there were. */
  remove(name) {
    const found = this.all().filter((f) => f.name.toLowerCase() === name.toLowerCase());
    for (const field of found) field.remove();
    return found.length;
  }

  all() {
    if (this.block) {
      const { raw, end, id } = this.block;
      this.block = null;
      let start = 0;
      this.list = end.map((to, i) => {
        const [name, value] = part(raw.toString('latin1', start, to));
        start = to;
        return new Field(this, i < id.length ? id[i] : i + 1, name, value);
      });
      this.sent = [...this.list];
    }
    return this.list;
  }

  /** Prepares an edit: it notes the fields as they are before the handler's first. */
  touch(field) {
    this.message.session.mayEdit();
    this.all();
    if (field && !field.id && field.sent !== null) {
      throw new Error(`header: ${field.name}: the relay has not numbered this field yet`);
    }
    if (!this.before) this.before = this.list.map((f) => [f, f.value]);
  }

  /** Takes back what a handler did that has failed. */
  restore() {
    if (!this.before) return;
    this.list = this.before.map(([field, value]) => {
      field.value = value;
      return field;
    });
    this.before = null;
  }

  /** The edits that make the relay's header section out of what it was. */
  edits() {
    if (!this.before) return [];
    const edits = [];
    const kept = new Set(this.list);
    for (const f of this.sent) {
      if (!kept.has(f)) edits.push({ remove_header: { id: f.id } });
    }
    for (const f of this.list) {
      if (f.id && f.value !== f.sent) edits.push({ replace_header: { id: f.id, value: Buffer.from(f.value, 'latin1') } });
    }
    const made = this.list.filter((f) => !f.id && f.sent === null);
    // Each goes above those before it, so that the last one here is the first there.
    for (const f of [...made.filter((f) => !f.bottom).reverse(), ...made.filter((f) => f.bottom)]) {
      const add = { name: f.name, value: Buffer.from(f.value, 'latin1') };
      if (f.bottom) add.bottom = true;
      edits.push({ add_header: add });
    }
    return edits;
  }

  /** Ends the handler's turn: its edits go out. */
  commit() {
    if (!this.before) return;
    this.before = null;
    for (const f of this.list) f.sent = f.value;
    this.sent = this.list.filter((f) => f.id);
  }
}

/** The name and what follows the colon. A line that is no field (RFC 5322 §2.2) has no name. */
function part(field) {
  field = field.replace(/\r?\n$/, '');
  const colon = field.indexOf(':');
  const name = field.slice(0, Math.max(colon, 0)).replace(/[ \t]+$/, ''); // "Subject :", RFC 5322 §4.5.8
  return colon < 0 || !/^[!-~]*$/.test(name) ? ['', field] : [name, field.slice(colon + 1)];
}

module.exports = { Header };
