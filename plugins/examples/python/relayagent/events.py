"""The events: which handler each has and what it is given."""

from typing import NamedTuple

from .addresses import Mailbox
from .wire import CAUSES, EVENTS, REASONS, name_of


class Auth(NamedTuple):
    """What AUTH gave."""

    mechanism: str
    user: str
    success: bool  # at on_end_of_authentication


class Hop(NamedTuple):
    """Where a FrontEnd is about to send a message."""

    name: str  # as the relay's configuration calls it
    address: str


class Rejection(NamedTuple):
    """A refusal that the client was just given."""

    code: int
    enhanced: str
    lines: list
    command: str  # the command line refused; "." for the end of data
    recipient: str  # at RCPT: the address in question
    cause: str  # "relay", "agent", "next_hop"
    agent: str  # with cause "agent": who refused
    at: str  # with cause "agent": where, such as "rcpt_command"


def _rejection(e):
    d = e.reject
    return Rejection(d.reply.code, d.reply.enhanced, list(d.reply.lines), d.command, d.recipient,
                     name_of(CAUSES, d.cause), d.agent, name_of(EVENTS, d.at) if d.at else "")


class Event(NamedTuple):
    """One event of the contract."""

    name: str  # "mail_command"; its handler is on_mail_command
    of_message: bool  # the handler is given the message, not the session
    detail: object  # makes the second argument; None: there is none
    headers: bool  # shows the header section

    @property
    def handler(self):
        return "on_" + self.name

    @property
    def number(self):
        return EVENTS[self.name]


def _argument(e):
    return e.command.argument


def _auth(e):
    return Auth(e.auth.mechanism, e.auth.user, e.auth.success)


ALL = [Event(name, of_message, detail, headers) for name, of_message, detail, headers in (
    ("connect", False, None, False),
    ("ehlo_command", False, _argument, False),
    ("helo_command", False, _argument, False),
    ("start_tls_command", False, None, False),
    ("auth_command", False, _auth, False),
    ("end_of_authentication", False, _auth, False),
    ("mail_command", True, lambda e: Mailbox.of(e.mail), False),
    ("rcpt_command", True, lambda e: Mailbox.of(e.rcpt), False),
    ("data_command", True, None, False),
    ("end_of_headers", True, None, True),
    ("proxy_inbound_message", True, lambda e: Hop(e.proxy.next_hop, e.proxy.address), True),
    ("end_of_data", True, None, True),
    ("rset_command", False, None, False),
    ("noop_command", False, _argument, False),
    ("help_command", False, _argument, False),
    ("reject", False, _rejection, False),
    ("disconnect", False, lambda e: name_of(REASONS, e.disconnect.reason), False),
    ("submitted_message", True, None, True),
    ("resolved_message", True, None, True),
    ("routed_message", True, None, True),
    ("categorized_message", True, None, True),
)]

BY_HANDLER = {event.handler: event for event in ALL}
