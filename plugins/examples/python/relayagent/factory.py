"""What a program offers: factories of agents."""

import difflib

from . import addresses, settings
from .events import ALL, BY_HANDLER
from .wire import CONTENTS, DIRECTIONS, EVENTS, MODES, PERMISSIONS, name_of


def watch(handler):
    """Marks a handler that only watches: it costs no round trip, may run late and cannot edit."""
    handler.relay_watches = True
    return handler


class Setup:
    """What an agent is told when it is made."""

    def __init__(self, request, log):
        self.name = request.agent_name  # the installed name: the agent's namespace in the bags
        self.role = request.role  # FrontEnd, Hub or Edge
        self.hostname = request.hostname  # the relay's own name
        self.accepted_domains = list(request.accepted_domains)
        self.granted = {name_of(PERMISSIONS, p) for p in request.granted}
        self.state_dir = request.state_dir  # the agent may keep files here; survives restarts
        self.log = log
        self._settings = request.settings.decode()

    def settings(self, **defaults):
        """The operator's settings over the defaults, whose types they must have."""
        return settings.read(self._settings, defaults)

    def accepts(self, domain):
        """Whether the relay takes mail for the domain."""
        return addresses.matches(self.accepted_domains, domain)


class Factory:
    """Makes an agent: agent(setup) is one for all sessions that begin from then on.

    agent is a class with handlers. It is made again at each change of settings or grants, and
    to try settings out; it refuses them with SettingsError. asks names permissions, such as
    "change_headers". changes_recipients_at names the latest event of recipient edits, such as
    "end_of_headers". headers limits the header fields that are shown. only narrows the sessions
    and messages it is asked about, by fields of the contract's Filter: only={"direction": "inbound"}.
    """

    def __init__(self, name, agent, *, description="", version="", asks=(), changes_recipients_at="",
                 headers=(), only=None):
        self.name, self.agent, self.description, self.version = name, agent, description, version
        self.asks, self.changes_recipients_at = list(asks), changes_recipients_at
        self.headers, self.only = list(headers), dict(only or {})

    def check(self):
        """Raises ValueError for what would silently bind nothing."""
        bound = 0
        for name in dir(self.agent):
            if not name.lower().startswith("on"):
                continue
            if name in BY_HANDLER:
                bound += 1
            elif name.startswith("on_") or "on_" + name[2:].lower().lstrip("_") in BY_HANDLER:
                near = difflib.get_close_matches(name, BY_HANDLER, 1, 0)[0]
                raise ValueError(f"factory {self.name}: {name} fits no event: did you mean {near}")
        if not bound:
            raise ValueError(f"factory {self.name}: the agent has no handler, such as on_end_of_headers")
        unknown = [p for p in self.asks if p not in PERMISSIONS]
        if unknown:
            raise ValueError(f"factory {self.name}: no permission {unknown[0]}; there are "
                             + ", ".join(sorted(set(PERMISSIONS) - {"unspecified"})))
        if self.changes_recipients_at and self.changes_recipients_at not in EVENTS:
            raise ValueError(f"factory {self.name}: no event {self.changes_recipients_at}")

    def subscribe(self, subscriptions):
        """Adds the events that the agent binds. It reports whether headers are shown at any."""
        shown = False
        for event in ALL:
            handler = getattr(self.agent, event.handler, None)
            if handler is None:
                continue
            s = subscriptions.add(event=event.number, mode=MODES["decide"], content=CONTENTS["none"])
            if watches(event, handler):
                s.mode = MODES["notify"]
            if event.headers:
                s.content, shown = CONTENTS["headers"], True
                s.header_names.extend(self.headers)
            self._narrow(s.filter)
        return shown

    def _narrow(self, wire):
        for name, value in self.only.items():
            if name == "direction":
                wire.direction = DIRECTIONS[value]
            elif isinstance(value, (list, tuple)):
                getattr(wire, name).extend(value)
            else:
                setattr(wire, name, value)

    def describe(self, wire):
        wire.name, wire.description = self.name, self.description
        if self.subscribe(wire.subscriptions):
            wire.permissions.append(PERMISSIONS["read_headers"])
        wire.permissions.extend(PERMISSIONS[p] for p in self.asks if PERMISSIONS[p] not in wire.permissions)
        if self.changes_recipients_at:
            wire.changes_recipients_at = EVENTS[self.changes_recipients_at]


def watches(event, handler):
    return event.name == "disconnect" or getattr(handler, "relay_watches", False)
