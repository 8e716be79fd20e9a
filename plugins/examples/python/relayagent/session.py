"""One SMTP session and its message, as the agent sees them."""

import datetime
import ipaddress
import json
import time
from typing import NamedTuple

from .addresses import Mailbox
from .header import Header
from .wire import SCOPES, ClientState, ConnectionInfo, Edit


class TLS(NamedTuple):
    """What the client's TLS handshake came to."""

    version: str
    cipher: str
    server_name: str  # SNI
    peer_certificate: bytes  # DER; empty where the client sent none
    peer_verified: bool  # the relay's system trusts who issued it


class Bag:
    """Values that the relay keeps for a session or a message.

    A bare key is the agent's own; "other/key" reads what the agent installed as "other" has
    set. Values are JSON; all that an agent sets in a session may be 64 KiB.
    """

    def __init__(self, session, scope):
        self._session, self._scope = session, SCOPES[scope]
        self._values = {}  # JSON by full key

    def _full(self, key):
        return key if "/" in key else f"{self._session.agent}/{key}"

    def get(self, key, default=None):
        value = self._values.get(self._full(key))
        return default if value is None else json.loads(value)

    def set(self, key, value, private=False):
        """Stores a value; a private one is read by no other agent."""
        self._write(key, json.dumps(value, ensure_ascii=False).encode(), private)

    def delete(self, key):
        self._write(key, None, False)

    def _write(self, key, value, private):
        if "/" in key:
            raise ValueError(f"bag: {key}: an agent writes only keys of its own")
        full = self._full(key)
        before = self._values.get(full)
        edit = Edit()
        prop = edit.set_property.property
        prop.scope, prop.key, prop.removed = self._scope, key, value is None
        prop.value, edit.set_property.private = value or b"", private
        self._session._properties.append((edit, self, full, before))
        self.put(full, value)

    def put(self, full, value):
        if value is None:
            self._values.pop(full, None)
        else:
            self._values[full] = value


class Session:
    """One SMTP session. It is valid in the handler it is given to."""

    def __init__(self, start, agent):
        self.id = start.session_id  # as in the relay's log
        self.resumed = start.resumed  # another process of this agent saw the beginning
        self.agent = agent  # the installed name
        self.message = None  # that of the running transaction; None between two
        self.deadline = None  # of the running handler, in time.monotonic(); None: no limit
        self.bag = Bag(self, "session")
        self._connection, self._client = ConnectionInfo(), ClientState()
        self._properties = []  # edits of the bags: (edit, bag, key, value before)
        self._watching = False
        self._take_properties(start.properties)

    remote_ip = property(lambda s: _ip(s._connection.remote_ip), doc="the real client's, behind a proxy too")
    remote_port = property(lambda s: s._connection.remote_port)
    local_ip = property(lambda s: _ip(s._connection.local_ip))
    local_port = property(lambda s: s._connection.local_port)
    remote_host = property(lambda s: s._connection.remote_host, doc="as a trusted hop has told it; or empty")
    last_external_ip = property(lambda s: _ip(s._connection.last_external_ip), doc="outside the relay's networks")
    proxy_ip = property(lambda s: _ip(s._connection.proxy_ip), doc="who told the client's address; None: nobody")
    listener = property(lambda s: s._connection.listener, doc="its address, as configured")
    internal = property(lambda s: s._connection.internal, doc="the client may send to any domain")
    early_talker = property(lambda s: s._connection.early_talker, doc="the client spoke before the banner")
    implicit_tls = property(lambda s: s._connection.implicit_tls)
    hello = property(lambda s: s._client.hello, doc="the argument of HELO or EHLO")
    esmtp = property(lambda s: s._client.esmtp, doc="the client said EHLO")
    auth_user = property(lambda s: s._client.auth_user, doc="empty: the client has not authenticated")
    auth_mechanism = property(lambda s: s._client.auth_mechanism)

    @property
    def started(self):
        """When the client connected."""
        return datetime.datetime.fromtimestamp(self._connection.started_unix_ms / 1000, datetime.timezone.utc)

    @property
    def tls(self):
        """A TLS; None if there is none."""
        c = self._client
        if not c.tls_version:
            return None
        return TLS(c.tls_version, c.tls_cipher, c.tls_sni, c.tls_peer_certificate, c.tls_peer_verified)

    @property
    def time_left(self):
        """Seconds until the relay gives the running handler up; None: no limit."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def in_hand(self):
        """The message for a handler that needs one."""
        if self.message is None:
            self.message = Message(self)
        return self.message

    def take(self, event, mail):
        """Brings the session up to what is attached to an event; mail: it is a MAIL."""
        if event.HasField("connection"):
            self._connection = event.connection
        if event.HasField("client"):
            self._client = event.client
        if event.HasField("envelope"):
            self._take_envelope(event.envelope)
        elif mail:
            self.message = Message(self)
            self.message._sender = Mailbox.of(event.mail)
        if event.HasField("headers"):
            self.in_hand().header.take(event.headers)
        self._take_properties(event.properties)

    def _take_envelope(self, envelope):
        if not (envelope.HasField("from") or envelope.recipients or envelope.message_id):
            self.message = None  # the transaction is over
            return
        if self.message is None or self.message.id != envelope.message_id:
            self.message = Message(self)
        self.message._take(envelope)

    def _take_properties(self, properties):
        for p in properties:
            bag = self.in_hand().bag if p.scope == SCOPES["message"] else self.bag
            bag.put(p.key, None if p.removed else p.value)

    def _may_edit(self):
        if self._watching:
            raise RuntimeError(
                "a handler that only watches cannot edit the message: it runs when the event may be long over")

    def _roll_back(self, properties):
        """Takes back what a handler did that has failed."""
        for edit, bag, key, before in reversed(self._properties[properties:]):
            bag.put(key, before)
        del self._properties[properties:]
        if self.message is not None:
            self.message._roll_back()

    def _edits(self, wire):
        """Adds the edits of the handlers to a verdict."""
        if self.message is not None:
            self.message._edits(wire.edits.add)
        for edit, *_ in self._properties:
            wire.edits.add().CopyFrom(edit)

    def _commit(self):
        """Ends a handler's turn: its edits go out."""
        if self.message is not None:
            self.message._commit()
        self._properties.clear()


class _Slot:
    """A recipient the relay knows, or one that was added, and what is in its place now."""

    __slots__ = ("id", "now", "listed", "sent")

    def __init__(self, id, now, listed=True, sent=True):
        self.id, self.now, self.listed, self.sent = id, now, listed, sent


class Message:
    """The message of a transaction. What an agent edits it sees at once."""

    def __init__(self, session):
        self._session = session
        self.id = ""  # the relay's, as in its log and its reply
        self.envelope_id = ""  # ENVID, RFC 3461 §4.4
        self.header = Header(self)  # empty before on_end_of_headers
        self.bag = Bag(session, "message")
        self._sender = Mailbox("")
        self._slots = []
        self._before = None  # sender and slots before the handler's first edit

    @property
    def session(self):
        return self._session

    def _take(self, envelope):
        self.id, self.envelope_id = envelope.message_id, envelope.envelope_id
        self._sender = Mailbox.of(getattr(envelope, "from"))
        self._slots = [_Slot(box.id, [Mailbox.of(box)]) for box in envelope.recipients]

    @property
    def sender(self):
        """The sender of the envelope, a Mailbox; set an address to change it, "" for the null sender."""
        return self._sender

    @sender.setter
    def sender(self, address):
        self._touch()
        self._sender = Mailbox(str(address), params=self._sender.params)

    @property
    def recipients(self):
        """The recipients as they are now: a new list of Mailboxes."""
        return [r for slot in self._slots if slot.listed for r in slot.now]

    def add_recipient(self, address):
        self._touch()
        self._slots.append(_Slot(0, [Mailbox(address)], sent=False))

    def remove_recipient(self, recipient):
        """Takes a recipient out of the envelope. It gets no mail and no notice."""
        self.replace_recipient(recipient)

    def replace_recipient(self, recipient, *addresses):
        """Puts others in the place of a recipient: one for an alias, many for a list."""
        self._touch()
        slot, i = self._find(recipient)
        slot.now[i:i + 1] = [Mailbox(a, 0, recipient.params, recipient.original) for a in addresses]
        slot.sent = False

    def _find(self, recipient):
        for slot in self._slots:
            for i, known in enumerate(slot.now):
                if known is recipient or recipient.id and known.id == recipient.id:
                    if slot.id == 0 and slot.sent or recipient.id == 0 and slot.sent:
                        break
                    return slot, i
        if not recipient.id:
            raise ValueError(f"{recipient.address} is no recipient that the relay has numbered")
        # The one in question at RCPT is not in the list yet.
        slot = _Slot(recipient.id, [recipient], listed=False)
        self._slots.append(slot)
        return slot, 0

    def _touch(self):
        self._session._may_edit()
        if self._before is None:
            self._before = self._sender, [(s, list(s.now), s.sent) for s in self._slots]

    def _roll_back(self):
        self.header.restore()
        if self._before is not None:
            (self._sender, slots), self._before = self._before, None
            for slot, slot.now, slot.sent in slots:
                pass
            self._slots = [slot for slot, _, _ in slots]

    def _edits(self, edit):
        if self._before is not None:
            if self._sender is not self._before[0]:
                edit().set_sender.address = self._sender.address
            for slot in self._slots:
                if not slot.sent:
                    _recipient_edits(edit, slot)
        self.header.edits(edit)

    def _commit(self):
        self._before = None
        for slot in self._slots:
            slot.sent = True
        self.header.commit()


def _recipient_edits(edit, slot):
    if slot.id == 0:
        for box in slot.now:
            edit().add_recipient.address = box.address
    elif slot.now:
        replace = edit().replace_recipient
        replace.recipient_id = slot.id
        for box in slot.now:
            getattr(replace, "with").add().address = box.address
    else:
        edit().remove_recipient.recipient_id = slot.id


def _ip(packed):
    if not packed:
        return None
    address = ipaddress.ip_address(packed)
    return getattr(address, "ipv4_mapped", None) or address
