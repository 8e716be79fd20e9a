"""Agents of the relay in Python: see README.md in the folder above.

    import relayagent

    class Hello:
        def __init__(self, setup):
            pass

        async def on_end_of_headers(self, message):
            message.header.set_text("Subject", "[hello] " + message.header.text("Subject"))

    if __name__ == "__main__":
        relayagent.serve(relayagent.Factory("hello", Hello, asks=["change_headers"]))
"""

from .addresses import Mailbox, join, matches, split
from .factory import Factory, Setup, watch
from .process import serve
from .session import Message, Session
from .settings import SettingsError, quoted
from .verdicts import accept, detach, discard, disconnect, fail, proceed, reject, skip, tempfail

__all__ = ["Factory", "Mailbox", "Message", "Session", "SettingsError", "Setup", "accept", "detach", "discard",
           "disconnect", "fail", "join", "matches", "proceed", "quoted", "reject", "serve", "skip", "split",
           "tempfail", "watch"]
