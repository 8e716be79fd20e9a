"""Mailboxes of the envelope, and lists of domains."""

import re

_DOT_STRING = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+)*")


def split(address):
    """The local part, without quotes, and the domain. One without a domain is all local part."""
    if not address.startswith('"'):
        local, at, domain = address.rpartition("@")
        return (local, domain) if at else (address, "")
    local, i = [], 1
    while i < len(address):
        if address[i] == "\\" and i + 1 < len(address):  # quoted-pair, RFC 5321 §4.1.2
            i += 1
        elif address[i] == '"':
            return "".join(local), address[i + 1:].removeprefix("@")
        local.append(address[i])
        i += 1
    return "".join(local), ""


def join(local, domain):
    """An address, with quotes where the local part is no Dot-string (RFC 5321 §4.1.2)."""
    if not _DOT_STRING.fullmatch(local):
        local = '"' + re.sub(r'(["\\])', r"\\\1", local) + '"'
    return f"{local}@{domain}" if domain else local


def matches(domains, domain):
    """Whether a list of "example.org" and "*.example.org" has the domain."""
    domain = domain.lower()
    for d in domains:
        d = d.lower()
        if d.startswith("*."):
            if domain.endswith(d[1:]) and len(domain) > len(d) - 1:
                return True
        elif d == domain:
            return True
    return False


class Mailbox:
    """An address of the envelope with its ESMTP parameters."""

    __slots__ = ("address", "id", "params", "original")

    def __init__(self, address, id=0, params=None, original=None):
        self.address = address  # without <>, quoted where it must be; "" is the null sender
        self.id = id  # the relay's number of a recipient; 0: it has none yet
        self.params = params or {}  # by upper-case key
        self.original = original or address  # what the client gave, where an agent has replaced it

    @classmethod
    def of(cls, box):
        return cls(box.address, box.id, {p.key.upper(): p.value for p in box.params}, box.original)

    @property
    def local(self):
        return split(self.address)[0]

    @property
    def domain(self):
        return split(self.address)[1]

    def __str__(self):
        return self.address
