'use strict';
// The process: go-plugin's handshake, signals, the end.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const { Factory } = require('./factory');
const { Service } = require('./service');

const COOKIE = ['RELAY_AGENT', 'relay.agent.v1'];
const VERSION = 1; // of the contract

/**
 * Serves factories, each an object as the README tells, to the relay that started the process.
 * Standard output and error both go to the relay's log. The process ends when the relay ends it,
 * and when the relay is gone; SIGINT and SIGTERM do not end it while the relay holds it.
 */
function serve(...offers) {
  const factories = check(offers);
  const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR || os.tmpdir(), `plugin${process.pid}`);
  const server = new grpc.Server({
    'grpc.max_receive_message_length': 8 << 20, // above the frames' 1 MiB
    'grpc-node.flow_control_window': 1 << 20,
  });
  const gone = () => {
    setTimeout(() => end(socket), 100); // the answer to Shutdown is on its way
    server.tryShutdown(() => end(socket));
  };
  const service = new Service(factories, gone);
  service.register(server);
  // Sent to the whole group they would take the agent away before the relay has ended its sessions.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => service.watches || end(socket));
  // A promise that nobody waits for: a fault in the agent, but nothing is broken by it.
  process.on('unhandledRejection', (problem) => console.error('a promise was rejected, and nobody waited for it:', problem));
  server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (problem) => {
    if (problem) refuse(`cannot listen on ${socket}: ${problem.message}`);
    share(socket);
    shakeHands(socket);
  });
}

function check(offers) {
  try {
    const factories = offers.map((offer) => new Factory(offer));
    if (!factories.length || new Set(factories.map((f) => f.name)).size < factories.length) {
      throw new Error(`a program needs factories of different names; there are [${factories.map((f) => f.name)}]`);
    }
    if (process.env[COOKIE[0]] !== COOKIE[1]) {
      throw new Error(`this is an agent of a relay, which starts it by itself: relay install-agent NAME --path ${process.argv[1]}`);
    }
    return factories;
  } catch (problem) {
    return refuse(problem.message);
  }
}

function refuse(problem) {
  process.stderr.write(`${process.argv[1]}: ${problem}\n`);
  process.exit(1);
}

function end(socket) {
  fs.rmSync(socket, { force: true });
  process.exit(0);
}

/** Lets the relay in where it runs as another user of a common group, given by its number. */
function share(socket) {
  const group = process.env.PLUGIN_UNIX_SOCKET_GROUP;
  if (group) {
    fs.chownSync(socket, process.getuid(), Number(group));
    fs.chmodSync(socket, 0o660);
  }
}

/**
 * Says where the process listens, the only thing that goes to the real standard output. What is
 * printed later goes to standard error.
 */
function shakeHands(socket) {
  process.stdout.write = process.stderr.write.bind(process.stderr);
  fs.writeSync(1, `1|${VERSION}|unix|${socket}|grpc|\n`);
}

module.exports = { serve };
