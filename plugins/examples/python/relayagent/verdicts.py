"""What a handler answers. Returning nothing continues."""

from .wire import ACTIONS, FAILURES


class Verdict:
    """A handler's answer, made by the functions of this module."""

    __slots__ = ("action", "code", "enhanced", "lines", "reason", "failure")

    def __init__(self, action, lines=(), code=0, enhanced="", failure=None):
        self.action, self.code, self.enhanced = ACTIONS[action], code, enhanced
        self.lines = [line for text in lines for line in text.splitlines()]
        self.reason, self.failure = "", failure

    def because(self, reason):
        """Gives the reason for log and trace. The client never sees it."""
        self.reason = reason
        return self

    def fill(self, wire):
        """Writes itself into a new message Verdict."""
        wire.action, wire.reason = self.action, self.reason
        if self.code or self.lines:
            wire.reply.code, wire.reply.enhanced = self.code, self.enhanced
            wire.reply.lines.extend(self.lines)
        if self.failure is not None:
            wire.failure.kind, wire.failure.detail = FAILURES["transient"], self.failure


def proceed(*text):
    """Goes on to the next agent; the text is the answer to HELP and NOOP."""
    return Verdict("continue", text)


def accept():
    """Lets the event pass and asks no further agents about it."""
    return Verdict("accept")


def _refusal(action, text, code, enhanced, usual):
    if code is None and text:
        code, enhanced = usual[0], enhanced or usual[1]
    return Verdict(action, text, code or 0, enhanced)


def reject(*text, code=None, enhanced=""):
    """Refuses the command, the recipient or the message for good.

    550 5.7.1 with the text, each a line of the reply; in the relay's own words without one.
    With a code of your own an empty enhanced code leaves its choice to the relay.
    """
    return _refusal("reject", text, code, enhanced, (550, "5.7.1"))


def tempfail(*text, code=None, enhanced=""):
    """Refuses for now, 451 4.7.1: the client will try again."""
    return _refusal("tempfail", text, code, enhanced, (451, "4.7.1"))


def disconnect(*text, code=None, enhanced=""):
    """Answers 421 4.7.0 and closes the connection."""
    return _refusal("disconnect", text, code, enhanced, (421, "4.7.0"))


def discard():
    """Answers 250 to the client and drops the message."""
    return Verdict("discard")


def skip():
    """Continues, and asks for no more events of this kind in this session."""
    return Verdict("skip")


def detach():
    """Continues, and asks for nothing more of this session."""
    return Verdict("detach")


def fail(problem):
    """Says that the agent could not judge: the operator's failure policy decides.

    The handler's edits are dropped. The problem goes to the log, never to the client.
    """
    return Verdict("continue", failure=str(problem))
