'use strict';
// One Session stream: one SMTP session after the other.

const grpc = require('@grpc/grpc-js');
const { Session } = require('./session');
const { Verdict } = require('./verdicts');
const wire = require('./wire');

const ENDED = { ended: {} };
const MAX_STATE = 64 << 20; // of what comes in chunks; the relay's own limits are far below
const MAX_QUEUE = 16; // frames that wait for the running handler before the stream is stopped

/** One stream. Its handlers run one after the other, beside those of other streams. */
class Conversation {
  constructor(service, call) {
    this.service = service;
    this.call = call;
    this.instance = null;
    this.session = null;
    this.chunks = new Map(); // state that comes before its Events frame
    this.queue = [];
    this.busy = false;
    this.ended = false; // the host sends no more
    this.abort = new AbortController();
  }

  run() {
    const { call } = this;
    call.on('data', (frame) => {
      this.queue.push(frame);
      if (this.queue.length > MAX_QUEUE) call.pause();
      this.pump();
    });
    call.on('end', () => {
      this.ended = true;
      this.pump();
    });
    call.on('cancelled', () => this.close());
    call.on('error', () => this.close());
  }

  /** Stops work on the session: nobody wants its result. */
  close() {
    this.queue = [];
    this.closed = true;
    this.abort.abort();
  }

  async pump() {
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.queue.length && !this.closed) {
        const heard = this.hear(this.queue.shift());
        if (heard) await heard;
        if (this.call.isPaused() && this.queue.length === 0) this.call.resume();
      }
    } catch (problem) {
      if (!this.closed) this.fail(problem);
    } finally {
      this.busy = false;
    }
    if (this.ended && !this.closed) this.call.end();
  }

  fail(problem) {
    if (!problem.code) console.error('a session stream:', problem);
    this.call.emit('error', { code: problem.code || grpc.status.INTERNAL, details: problem.message });
    this.close();
  }

  /** Handles one frame. One that this version does not know has no name and is ignored. */
  hear(frame) {
    switch (frame.frame) {
      case 'start': return this.begin(frame.start);
      case 'state': return this.chunk(frame.state);
      case 'events': return this.answer(frame.events);
      case 'end': return this.end(frame.end);
      default: return undefined;
    }
  }

  begin(start) {
    this.instance = this.service.current;
    this.session = new Session(start, this.instance.name, this.abort.signal);
    this.chunks.clear();
  }

  chunk({ part, data }) {
    const parts = this.chunks.get(part) || [];
    this.chunks.set(part, parts);
    parts.push(data);
    const size = [...this.chunks.values()].flat().reduce((sum, d) => sum + d.length, 0);
    if (size > MAX_STATE) throw status(grpc.status.RESOURCE_EXHAUSTED, 'the state of the session is too large');
  }

  /** Attaches what came in chunks to the first event of a frame. */
  join(event) {
    const whole = (part) => this.chunks.has(part) && Buffer.concat(this.chunks.get(part));
    const envelope = whole(wire.PARTS.envelope);
    const headers = whole(wire.PARTS.headers);
    this.chunks.clear();
    if (envelope) event.envelope = wire.Envelope.decode(envelope);
    if (headers) event.headers = wire.HeaderBlock.decode(headers);
  }

  async answer({ events, timeout_ms: timeout }) {
    if (!this.session) throw status(grpc.status.INVALID_ARGUMENT, 'events before the start of a session');
    const verdicts = [];
    await this.handle(events, timeout, verdicts);
    if (verdicts.length) await this.send({ verdicts: { verdicts } });
  }

  /** Runs the handlers of the events still pending and gives the stream back. */
  async end({ events }) {
    if (this.session) {
      for (const event of events) event.notify = true;
      await this.handle(events, 0, []);
    }
    this.session = this.instance = null;
    await this.send(ENDED);
  }

  async send(frame) {
    if (this.closed || this.call.write(frame)) return;
    await new Promise((done) => {
      this.call.once('drain', done);
      this.abort.signal.addEventListener('abort', done, { once: true });
    });
  }

  async handle(events, timeout, verdicts) {
    if (events.length && this.chunks.size) this.join(events[0]);
    this.session.deadline = timeout ? performance.now() + timeout : null;
    for (const event of events) {
      if (this.closed) return;
      this.take(event);
      const verdict = await this.ask(event);
      if (!event.notify) verdicts.push(verdict);
    }
  }

  /** Brings the session up to an event. Another transaction has the newest agent. */
  take(event) {
    const before = this.session.message;
    this.session.take(event, event.type === wire.EVENTS.mail_command);
    if (this.session.message !== before) this.instance = this.service.current;
  }

  /** The verdict of an event's handler. Its failure takes back what it did and costs nobody else anything. */
  async ask(event) {
    const { session } = this;
    const handler = this.instance.handlers.get(event.type);
    const properties = session.properties.length;
    let verdict = { seq: event.seq };
    if (handler) {
      session.watching = event.notify || handler.watches;
      try {
        const answer = await result(handler, session, event);
        if (answer) verdict = answer.wire(event.seq);
      } catch (problem) {
        if (!this.closed) console.error(`${handler.handler}: session ${session.id}:`, problem);
        verdict = failure(event, `${handler.handler}: ${problem}`);
      } finally {
        session.watching = false;
      }
    }
    if (!event.notify && !verdict.failure) {
      // What watching handlers have set goes with it too; after a failure with the next.
      const edits = session.edits();
      if (edits.length) verdict.edits = edits;
      const problem = tooMuch(verdict);
      if (problem) verdict = failure(event, problem);
      else session.commit();
    }
    if (verdict.failure) {
      session.rollBack(properties);
      if (properties >= wire.MAX_EDITS) session.commit(); // it would fail for ever
    }
    return verdict;
  }
}

function tooMuch({ edits = [], ...rest }) {
  if (edits.length > wire.MAX_EDITS) return `${edits.length} edits; a verdict may have ${wire.MAX_EDITS}`;
  if (edits.length === 0) return '';
  const size = wire.Verdict.encode({ ...rest, edits }).finish().length;
  const limit = wire.MAX_FRAME - 4096;
  return size > limit ? `a verdict of ${size} bytes; it may have ${limit}` : '';
}

function failure(event, detail) {
  return { seq: event.seq, failure: { kind: wire.FAILURES.internal, detail } };
}

async function result(handler, session, event) {
  const subject = handler.ofMessage ? session.inHand() : session;
  const verdict = await handler.call(subject, handler.detail ? handler.detail(event) : undefined);
  if (verdict !== undefined && verdict !== null && !(verdict instanceof Verdict)) {
    throw new TypeError(`it returned ${typeof verdict}, not a verdict such as reject()`);
  }
  return verdict;
}

function status(code, message) {
  return Object.assign(new Error(message), { code });
}

module.exports = { Conversation };
