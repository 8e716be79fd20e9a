'use strict';
// What a handler answers. Returning nothing continues.

const { ACTIONS, FAILURES } = require('./wire');

/** A handler's answer, made by the functions of this module. */
class Verdict {
  constructor(action, text = [], { code = 0, enhanced = '' } = {}, failure = null) {
    this.action = ACTIONS[action];
    this.lines = [].concat(text).flatMap((t) => String(t).split(/\r?\n/));
    this.code = code;
    this.enhanced = enhanced;
    this.reason = '';
    this.failure = failure;
  }

  /** Gives the reason for log and trace. The client never sees it. */
  because(reason) {
    this.reason = reason;
    return this;
  }

  /** Itself as the contract's message. */
  wire(seq) {
    const v = { seq };
    if (this.action) v.action = this.action;
    if (this.reason) v.reason = this.reason;
    if (this.code || this.lines.length) v.reply = { code: this.code, enhanced: this.enhanced, lines: this.lines };
    if (this.failure !== null) v.failure = { kind: FAILURES.transient, detail: this.failure };
    return v;
  }
}

function refusal(action, code, enhanced) {
  return (text, own) => new Verdict(action, text, own || (text === undefined ? {} : { code, enhanced }));
}

module.exports = {
  Verdict,
  /** Goes on to the next agent; the text is the answer to HELP and NOOP. */
  proceed: (text) => new Verdict('continue', text),
  /** Lets the event pass and asks no further agents about it. */
  accept: () => new Verdict('accept'),
  /**
   * Refuses the command, the recipient or the message for good: 550 5.7.1 with the text, a string
   * or several, each a line; in the relay's own words without one. { code, enhanced } changes the
   * codes; an empty enhanced code leaves its choice to the relay.
   */
  reject: refusal('reject', 550, '5.7.1'),
  /** Refuses for now, 451 4.7.1: the client will try again. */
  tempfail: refusal('tempfail', 451, '4.7.1'),
  /** Answers 421 4.7.0 and closes the connection. */
  disconnect: refusal('disconnect', 421, '4.7.0'),
  /** Answers 250 to the client and drops the message. */
  discard: () => new Verdict('discard'),
  /** Continues, and asks for no more events of this kind in this session. */
  skip: () => new Verdict('skip'),
  /** Continues, and asks for nothing more of this session. */
  detach: () => new Verdict('detach'),
  /**
   * Says that the agent could not judge: the operator's failure policy decides. The handler's
   * edits are dropped. The problem goes to the log, never to the client.
   */
  fail: (problem) => new Verdict('continue', [], {}, String(problem)),
};
