#!/usr/bin/python3
"""The agent of the conformance tests in Python: what probe/main.go does."""

import asyncio
import sys

import relayagent


class Probe:
    def __init__(self, setup):
        self.mark = setup.settings(mark="none")["mark"]

    @relayagent.watch
    async def on_connect(self, session):
        session.bag.set("connected", str(session.remote_ip))

    def on_ehlo_command(self, session, domain):  # a handler need not be asynchronous
        return relayagent.proceed().because("said " + domain)

    async def on_help_command(self, session, argument):
        return relayagent.proceed(self.mark)

    async def on_mail_command(self, message, sender):
        session = message.session
        if sender.local == "crash":
            message.sender = "changed@example.org"
            session.bag.set("connected", "crashed")
            raise RuntimeError("as asked")
        if sender.local == "print":
            print("printed by the agent", flush=True)
        if sender.local == "slow":
            try:
                await asyncio.Event().wait()
            finally:
                print("the slow one was cancelled", file=sys.stderr, flush=True)
        if sender.local == "reject":
            return relayagent.reject("no", "really not", code=554, enhanced="5.7.9").because("asked")
        if sender.local == "fail":
            return relayagent.fail("database away")
        if sender.local == "resumed":
            return relayagent.tempfail(str(session.resumed).lower())
        if sender.local == "bag":
            return relayagent.tempfail(session.bag.get("connected", ""), session.bag.get("other/word", ""))

    async def on_rcpt_command(self, message, recipient):
        if recipient.local == "list":
            message.replace_recipient(recipient, "a@example.org", "b@example.org")
        if recipient.local == "gone":
            message.remove_recipient(recipient)

    async def on_end_of_headers(self, message):
        header = message.header
        if "X-Add" in header:
            for _ in range(int(header.text("X-Add"))):
                header.add_raw("X-Added", b" 1")
            return
        if "X-Raw" in header:
            header.field("X-Raw").raw += b"!"
            return
        message.sender = "sender@example.org"
        message.add_recipient("added@example.org")
        if message.recipients[0].local == "twice":
            message.replace_recipient(message.recipients[0], "once@example.org")
            message.replace_recipient(message.recipients[0], "again@example.org")
        header.remove("X-Remove")
        header.set_text("Subject", "[probe] " + header.text("Subject"))
        header.add("X-Top", "1")
        header.add("X-Above", "é" * 3)
        header.add_last("X-Last", "end")
        header.field("X-Top").text = "2"

    async def on_reject(self, session, r):
        if r.code == 550 and r.recipient == "nobody@example.org" and r.cause == "next_hop":
            return relayagent.disconnect("enough")

    async def on_disconnect(self, session, reason):
        word = "by QUIT" if reason == "quit" else "otherwise"
        print("ended", word, session.bag.get("connected"), file=sys.stderr, flush=True)


relayagent.serve(relayagent.Factory(
    "probe", Probe, asks=["change_headers", "change_recipients", "change_sender", "reject"],
    changes_recipients_at="end_of_headers"))
