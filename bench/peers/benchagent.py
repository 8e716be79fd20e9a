#!/usr/bin/python3
"""The agents of agentbench in Python: benchagent's decide and notify, which do nothing."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "plugins/examples/python"))
import relayagent


class Decider:
    def __init__(self, setup):
        pass

    async def on_connect(self, session):
        pass

    async def on_ehlo_command(self, session, domain):
        pass

    async def on_mail_command(self, message, sender):
        pass

    async def on_rcpt_command(self, message, recipient):
        pass

    async def on_data_command(self, message):
        pass

    async def on_end_of_headers(self, message):
        pass

    async def on_disconnect(self, session, reason):
        pass


class Watcher(Decider):
    on_connect = relayagent.watch(lambda self, session: None)
    on_ehlo_command = relayagent.watch(lambda self, session, domain: None)
    on_mail_command = relayagent.watch(lambda self, message, sender: None)
    on_rcpt_command = relayagent.watch(lambda self, message, recipient: None)
    on_data_command = relayagent.watch(lambda self, message: None)


relayagent.serve(relayagent.Factory("decide", Decider, description="asked at each event, does nothing"),
                 relayagent.Factory("notify", Watcher, description="sees each event, is asked once, does nothing"))
