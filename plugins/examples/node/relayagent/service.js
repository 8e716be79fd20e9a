'use strict';
// The four calls of AgentService, and what go-plugin asks beside them.

const { Conversation } = require('./conversation');
const { Setup } = require('./factory');
const { SettingsError } = require('./settings');
const wire = require('./wire');

const CAN = ['deferred_events', 'batch_decide', 'resume', 'large_state'].map((c) => wire.CAPABILITIES[c]);
const ORPHANED = 10_000; // milliseconds without a Watch before the process ends

/** Answers the host for the factories of a program. gone is called when the process is to end. */
class Service {
  constructor(factories, gone) {
    this.factories = factories;
    this.gone = gone;
    this.current = null; // the agent for new sessions and transactions
    this.watches = 0;
    this.orphan = null;
  }

  describe(call, done) {
    done(null, { agent_version: this.factories[0].version, factories: this.factories.map((f) => f.describe()) });
  }

  configure({ request }, done) {
    const factory = this.factory(request.factory);
    if (!factory) {
      const names = this.factories.map((f) => f.name).join(', ');
      done(null, { errors: [{ problem: `the program has no factory "${request.factory}"; it has ${names}` }] });
      return;
    }
    const answer = {
      agent_version: factory.version,
      subscriptions: factory.subscriptions(),
      capabilities: CAN.filter((c) => request.capabilities.includes(c)),
    };
    try {
      const made = instance(request.agent_name, factory, new factory.agent(new Setup(request)));
      if (!request.validate_only) this.current = made;
    } catch (problem) {
      if (problem instanceof SettingsError) {
        answer.errors = problem.problems;
      } else {
        console.error('the agent could not be made:', problem);
        answer.errors = [{ problem: `in the constructor: ${problem}` }];
      }
    }
    done(null, answer);
  }

  factory(name) {
    return !name && this.factories.length === 1 ? this.factories[0] : this.factories.find((f) => f.name === name);
  }

  watch(call) {
    this.watches++;
    clearTimeout(this.orphan);
    const ready = () => call.write({ state: wire.STATES.ready });
    ready();
    const beat = setInterval(ready, call.request.heartbeat_ms || 1000);
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      clearInterval(beat);
      if (--this.watches === 0) this.orphan = setTimeout(this.gone, ORPHANED);
    };
    call.on('cancelled', end);
    call.on('close', end);
    call.on('error', end);
  }

  session(call) {
    if (!this.current) {
      call.emit('error', { code: 9, details: 'a session before Configure' }); // FAILED_PRECONDITION
      return;
    }
    new Conversation(this, call).run();
  }

  /** Adds all services of the process to a server. */
  register(server) {
    const method = (path, request, response, { in: requestStream = false, out: responseStream = false } = {}) => ({
      path, requestStream, responseStream,
      requestDeserialize: (bytes) => (request ? request.decode(bytes) : bytes),
      requestSerialize: (m) => m,
      responseSerialize: (m) => (response ? response.encode(m).finish() : m),
      responseDeserialize: (bytes) => bytes,
    });
    const ours = `/${wire.PACKAGE}.AgentService/`;
    server.addService({
      describe: method(`${ours}Describe`, wire.message('DescribeRequest'), wire.message('DescribeResponse')),
      configure: method(`${ours}Configure`, wire.message('ConfigureRequest'), wire.message('ConfigureResponse')),
      watch: method(`${ours}Watch`, wire.message('WatchRequest'), wire.message('AgentStatus'), { out: true }),
      session: method(`${ours}Session`, wire.message('HostFrame'), wire.AgentFrame, { in: true, out: true }),
      // go-plugin's own. Their messages are empty or not read, so that bytes do.
      shutdown: method('/plugin.GRPCController/Shutdown'),
      streamStdio: method('/plugin.GRPCStdio/StreamStdio', null, null, { out: true }),
      startStream: method('/plugin.GRPCBroker/StartStream', null, null, { in: true, out: true }),
      check: method('/grpc.health.v1.Health/Check'),
    }, {
      describe: this.describe.bind(this),
      configure: this.configure.bind(this),
      watch: this.watch.bind(this),
      session: this.session.bind(this),
      shutdown: (call, done) => {
        done(null, Buffer.alloc(0));
        setImmediate(this.gone);
      },
      streamStdio: held,
      startStream: held,
      check: (call, done) => done(null, Buffer.from([0x08, 0x01])), // HealthCheckResponse{status: SERVING}
    });
  }
}

/** A stream that go-plugin opens and that says nothing. */
function held(call) {
  call.on('data', () => {});
  call.on('error', () => {});
}

/** An agent with what a session needs of it. */
function instance(name, factory, agent) {
  const handlers = new Map();
  for (const event of factory.bound) {
    handlers.set(event.number, { ...event, call: agent[event.handler].bind(agent) });
  }
  return { name, agent, handlers };
}

module.exports = { Service };
