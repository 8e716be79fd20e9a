'use strict';
// The messages of relay.agent.v1, made from the descriptor set beside this file. agent.binpb is
// a copy of proto/agent/v1/agent.binpb; no protoc is needed.

const fs = require('node:fs');
const path = require('node:path');
const protobuf = require('protobufjs');
require('protobufjs/ext/descriptor');

const PACKAGE = 'relay.agent.v1';

const root = protobuf.Root.fromDescriptor(fs.readFileSync(path.join(__dirname, 'agent.binpb')));

/** A message of the contract, by its name. */
function message(name) {
  return root.lookupType(`${PACKAGE}.${name}`);
}

/** The values of an enum by their names in lower case, without what all begin with. */
function values(name, prefix) {
  const all = Object.entries(root.lookupEnum(`${PACKAGE}.${name}`).values);
  return Object.fromEntries(all.map(([key, number]) => [key.slice(prefix.length).toLowerCase(), number]));
}

/** The name of an enum's value; a number that this version does not know as digits. */
function nameOf(all, number) {
  const found = Object.entries(all).find(([, n]) => n === number);
  return found ? found[0] : String(number);
}

module.exports = {
  PACKAGE,
  message,
  nameOf,
  Envelope: message('Envelope'),
  HeaderBlock: message('HeaderBlock'),
  Verdict: message('Verdict'),
  AgentFrame: message('AgentFrame'),
  EVENTS: values('EventType', 'EVENT_TYPE_'),
  PERMISSIONS: values('Permission', 'PERMISSION_'),
  CAPABILITIES: values('Capability', 'CAPABILITY_'),
  ACTIONS: values('Action', 'ACTION_'),
  FAILURES: values('Failure.Kind', 'KIND_'),
  CAUSES: values('RejectDetail.Cause', 'CAUSE_'),
  REASONS: values('SessionEnd.Reason', 'REASON_'),
  SCOPES: values('Property.Scope', 'SCOPE_'),
  MODES: values('Subscription.Mode', 'MODE_'),
  CONTENTS: values('Subscription.Content', 'CONTENT_'),
  PARTS: values('StateChunk.Part', 'PART_'),
  DIRECTIONS: values('Filter.Direction', 'DIRECTION_'),
  STATES: values('AgentStatus.State', 'STATE_'),
  MAX_EDITS: 1000,
  MAX_FRAME: 1 << 20,
};
