'use strict';
// What a program offers: factories of agents.

const addresses = require('./addresses');
const settings = require('./settings');
const { ALL, BY_HANDLER } = require('./events');
const { CONTENTS, DIRECTIONS, MODES, PERMISSIONS, nameOf } = require('./wire');

/** What an agent is told when it is made. */
class Setup {
  constructor(request) {
    this.name = request.agent_name; // the installed name: the agent's namespace in the bags
    this.role = request.role; // FrontEnd, Hub or Edge
    this.hostname = request.hostname; // the relay's own name
    this.acceptedDomains = request.accepted_domains;
    this.granted = new Set(request.granted.map((p) => nameOf(PERMISSIONS, p)));
    this.stateDir = request.state_dir; // the agent may keep files here; survives restarts
    this.given = Buffer.from(request.settings).toString();
  }

  /** The operator's settings over the defaults, whose types they must have. */
  settings(defaults) { return settings.read(this.given, defaults); }

  /** Whether the relay takes mail for the domain. */
  accepts(domain) { return addresses.matches(this.acceptedDomains, domain); }
}

/** The names of all methods of a class, inherited ones too. */
function methods(agent) {
  const names = new Set();
  for (let p = agent.prototype; p && p !== Object.prototype; p = Object.getPrototypeOf(p)) {
    for (const name of Object.getOwnPropertyNames(p)) names.add(name);
  }
  return [...names];
}

/**
 * Makes agents; see README.md for the fields. A new agent is made at each change of settings or
 * grants, and to try settings out; it refuses them with SettingsError.
 */
class Factory {
  constructor({ name, agent, description = '', version = '', asks = [], watches = [], changesRecipientsAt = '', headers = [], only = {} }) {
    Object.assign(this, { name, agent, description, version, asks, watches, changesRecipientsAt, headers, only });
    this.check();
  }

  /** Throws for what would silently bind nothing. */
  check() {
    const wrong = (problem) => { throw new Error(`factory ${this.name}: ${problem}`); };
    if (!this.name || /[/\s]/.test(this.name)) wrong('it needs a name without spaces and slashes');
    if (typeof this.agent !== 'function') wrong('agent must be a class');
    const names = methods(this.agent);
    for (const name of names.filter((n) => /^on[A-Z_]/i.test(n) && !BY_HANDLER.has(n))) {
      const meant = [...BY_HANDLER.keys()].find((h) => h.toLowerCase() === name.toLowerCase().replace(/_/g, ''));
      if (meant || /^on[A-Z]/.test(name)) wrong(`${name} fits no event: did you mean ${meant || nearest(name)}`);
    }
    if (!names.some((n) => BY_HANDLER.has(n))) wrong('the agent has no handler, such as onEndOfHeaders');
    for (const name of [...this.watches, ...(this.changesRecipientsAt ? [this.changesRecipientsAt] : [])]) {
      if (!BY_HANDLER.has(name)) wrong(`${name} is no handler of an event`);
    }
    for (const p of this.asks) {
      if (!PERMISSIONS[p]) wrong(`no permission ${p}; there are ${Object.keys(PERMISSIONS).slice(1).sort().join(', ')}`);
    }
  }

  /** The agent's events with their handlers. */
  get bound() {
    const names = new Set(methods(this.agent));
    return ALL.filter((e) => names.has(e.handler)).map((e) => ({
      ...e, watches: e.handler === 'onDisconnect' || this.watches.includes(e.handler),
    }));
  }

  subscriptions() {
    const { direction, ...rest } = this.only;
    const filter = direction ? { ...rest, direction: DIRECTIONS[direction] } : rest;
    return this.bound.map((e) => ({
      event: e.number,
      mode: e.watches ? MODES.notify : MODES.decide,
      content: e.headers ? CONTENTS.headers : CONTENTS.none,
      header_names: e.headers ? this.headers : [],
      filter,
    }));
  }

  describe() {
    const asks = this.bound.some((e) => e.headers) ? ['read_headers', ...this.asks] : this.asks;
    const at = BY_HANDLER.get(this.changesRecipientsAt);
    return {
      name: this.name,
      description: this.description,
      subscriptions: this.subscriptions(),
      permissions: [...new Set(asks)].map((p) => PERMISSIONS[p]),
      changes_recipients_at: at ? at.number : 0,
    };
  }
}

/** The handler whose name is the fewest insertions, deletions and replacements away. */
function nearest(name) {
  let best = '';
  let least = Infinity;
  for (const handler of BY_HANDLER.keys()) {
    const d = distance(name.toLowerCase(), handler.toLowerCase());
    if (d < least) [best, least] = [handler, d];
  }
  return best;
}

function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}

module.exports = { Factory, Setup };
