'use strict';
const { SCOPES } = require('./wire');

/**
 * Values that the relay keeps for a session or a message. A bare key is the agent's own;
 * "other/key" reads what the agent installed as "other" has set. Values are JSON; all that an
 * agent sets in a session may be 64 KiB.
 */
class Bag {
  constructor(session, scope) {
    this.session = session;
    this.scope = SCOPES[scope];
    this.values = new Map(); // JSON by full key
  }

  full(key) { return key.includes('/') ? key : `${this.session.agent}/${key}`; }

  get(key, otherwise) {
    const value = this.values.get(this.full(key));
    return value === undefined ? otherwise : JSON.parse(value);
  }

  /** Stores a value; a private one is read by no other agent. */
  set(key, value, { private: own = false } = {}) { this.write(key, Buffer.from(JSON.stringify(value)), own); }

  delete(key) { this.write(key, undefined, false); }

  write(key, value, own) {
    if (key.includes('/')) throw new Error(`bag: ${key}: an agent writes only keys of its own`);
    const full = this.full(key);
    const property = { scope: this.scope, key, value: value || Buffer.alloc(0), removed: value === undefined };
    const edit = { set_property: { property, private: own } };
    this.session.properties.push({ edit, bag: this, full, before: this.values.get(full) });
    this.put(full, value);
  }

  put(full, value) {
    if (value === undefined) this.values.delete(full);
    else this.values.set(full, value);
  }
}

module.exports = { Bag };
