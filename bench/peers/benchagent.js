#!/usr/bin/env node
'use strict';
// The agents of agentbench in JavaScript: benchagent's decide and notify, which do nothing.
// Needs npm ci in plugins/examples/node.

const relayagent = require('../../plugins/examples/node/relayagent');

class Nothing {
  onConnect() {}

  onEhloCommand() {}

  onMailCommand() {}

  onRcptCommand() {}

  onDataCommand() {}

  onEndOfHeaders() {}

  onDisconnect() {}
}

relayagent.serve({
  name: 'decide', agent: Nothing, description: 'asked at each event, does nothing',
}, {
  name: 'notify', agent: Nothing, description: 'sees each event, is asked once, does nothing',
  watches: ['onConnect', 'onEhloCommand', 'onMailCommand', 'onRcptCommand', 'onDataCommand'],
});
