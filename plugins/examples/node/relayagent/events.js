'use strict';
// The events: which handler each has and what it is given.

const { Mailbox } = require('./addresses');
const { CAUSES, EVENTS, REASONS, nameOf } = require('./wire');

/** "mail_command" as "MailCommand". */
function camel(name) {
  return name.split('_').map((word) => word[0].toUpperCase() + word.slice(1)).join('');
}

const argument = (e) => (e.command ? e.command.argument : '');
const auth = (e) => ({ mechanism: e.auth.mechanism, user: e.auth.user, success: e.auth.success });
const hop = (e) => ({ name: e.proxy.next_hop, address: e.proxy.address });
const reason = (e) => nameOf(REASONS, e.disconnect ? e.disconnect.reason : 0);

/** A refusal that the client was just given. */
function rejection(e) {
  const { reply, command, recipient, cause, agent, at } = e.reject;
  return {
    code: reply ? reply.code : 0, enhanced: reply ? reply.enhanced : '', lines: reply ? reply.lines : [],
    command, // the command line refused; "." for the end of data
    recipient, // at RCPT: the address in question
    cause: nameOf(CAUSES, cause), // "relay", "agent", "next_hop"
    agent, // with cause "agent": who refused
    at: at ? `on${camel(nameOf(EVENTS, at))}` : '', // with cause "agent": where
  };
}

/** ofMessage: the handler is given the message, not the session. detail makes the second argument. */
function event(name, { ofMessage = false, detail = null, headers = false } = {}) {
  return { number: EVENTS[name], name: camel(name), handler: `on${camel(name)}`, ofMessage, detail, headers };
}

const ofMessage = true;
const headers = true;

const ALL = [
  event('connect'),
  event('ehlo_command', { detail: argument }),
  event('helo_command', { detail: argument }),
  event('start_tls_command'),
  event('auth_command', { detail: auth }),
  event('end_of_authentication', { detail: auth }),
  event('mail_command', { ofMessage, detail: (e) => Mailbox.of(e.mail) }),
  event('rcpt_command', { ofMessage, detail: (e) => Mailbox.of(e.rcpt) }),
  event('data_command', { ofMessage }),
  event('end_of_headers', { ofMessage, headers }),
  event('proxy_inbound_message', { ofMessage, detail: hop, headers }),
  event('end_of_data', { ofMessage, headers }),
  event('rset_command'),
  event('noop_command', { detail: argument }),
  event('help_command', { detail: argument }),
  event('reject', { detail: rejection }),
  event('disconnect', { detail: reason }),
  event('submitted_message', { ofMessage, headers }),
  event('resolved_message', { ofMessage, headers }),
  event('routed_message', { ofMessage, headers }),
  event('categorized_message', { ofMessage, headers }),
];

module.exports = { ALL, BY_HANDLER: new Map(ALL.map((e) => [e.handler, e])) };
