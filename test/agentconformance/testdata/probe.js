#!/usr/bin/env node
'use strict';
// The agent of the conformance tests in JavaScript: what probe/main.go does.

const relayagent = require('./relayagent');

class Probe {
  constructor(setup) {
    this.mark = setup.settings({ mark: 'none' }).mark;
  }

  onConnect(session) {
    session.bag.set('connected', session.remoteIp);
  }

  onEhloCommand(session, domain) { // a handler need not be asynchronous
    return relayagent.proceed().because(`said ${domain}`);
  }

  async onHelpCommand() {
    return relayagent.proceed(this.mark);
  }

  async onMailCommand(message, sender) {
    const { session } = message;
    switch (sender.local) {
      case 'crash':
        message.sender = 'changed@example.org';
        session.bag.set('connected', 'crashed');
        throw new Error('as asked');
      case 'print':
        console.log('printed by the agent');
        break;
      case 'slow':
        await new Promise((done) => { session.signal.addEventListener('abort', done); });
        console.error('the slow one was cancelled');
        break;
      case 'reject':
        return relayagent.reject(['no', 'really not'], { code: 554, enhanced: '5.7.9' }).because('asked');
      case 'fail':
        return relayagent.fail('database away');
      case 'resumed':
        return relayagent.tempfail(String(session.resumed));
      case 'bag':
        return relayagent.tempfail([session.bag.get('connected', ''), session.bag.get('other/word', '')]);
      default:
    }
    return undefined;
  }

  async onRcptCommand(message, recipient) {
    if (recipient.local === 'list') message.replaceRecipient(recipient, 'a@example.org', 'b@example.org');
    if (recipient.local === 'gone') message.removeRecipient(recipient);
  }

  async onEndOfHeaders(message) {
    const { header } = message;
    if (header.field('X-Add')) {
      for (let n = Number(header.text('X-Add')); n > 0; n--) header.addRaw('X-Added', ' 1');
      return;
    }
    if (header.field('X-Raw')) {
      header.field('X-Raw').raw += '!';
      return;
    }
    message.sender = 'sender@example.org';
    message.addRecipient('added@example.org');
    if (message.recipients[0].local === 'twice') {
      message.replaceRecipient(message.recipients[0], 'once@example.org');
      message.replaceRecipient(message.recipients[0], 'again@example.org');
    }
    header.remove('X-Remove');
    header.setText('Subject', `[probe] ${header.text('Subject')}`);
    header.add('X-Top', '1');
    header.add('X-Above', 'ééé');
    header.addLast('X-Last', 'end');
    header.field('X-Top').text = '2';
  }

  async onReject(session, r) {
    if (r.code === 550 && r.recipient === 'nobody@example.org' && r.cause === 'next_hop') return relayagent.disconnect('enough');
    return undefined;
  }

  async onDisconnect(session, reason) {
    console.error('ended', reason === 'quit' ? 'by QUIT' : 'otherwise', session.bag.get('connected'));
  }
}

relayagent.serve({
  name: 'probe',
  agent: Probe,
  asks: ['change_headers', 'change_recipients', 'change_sender', 'reject'],
  watches: ['onConnect'],
  changesRecipientsAt: 'onEndOfHeaders',
});
