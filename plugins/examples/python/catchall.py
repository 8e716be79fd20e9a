#!/usr/bin/python3
"""Delivers alias_tag@domain to alias@domain and marks the Subject with the tag.

What it does in detail says the manual of the catchall that comes with the relay,
plugins/catchall/README.md: this is the same agent, in Python.
"""

import re
import unicodedata

import relayagent
from relayagent import quoted

MAX_ENCODED_LINE = 76  # RFC 2047 §2
MAX_LINE = 998  # RFC 5322 §2.1.1


class Catchall:
    def __init__(self, setup):
        s = setup.settings(separator="_", domains=[], tag_format="[{tag}] ", leave_alone=[])
        check(s)
        self.separator, self.format = s["separator"], s["tag_format"]
        self.domains = s["domains"] or setup.accepted_domains
        self.leave_alone = {local.lower() for local in s["leave_alone"]}

    async def on_end_of_headers(self, message):
        """Rewrites each tagged recipient, and marks the Subject where all agree on the tag."""
        parts = {r: self.parts(r) for r in message.recipients}
        taken = {key(r.address) for r, tagged in parts.items() if not tagged}
        tags = {tagged[1] for tagged in parts.values() if tagged}
        outside = any(not tagged and not self.takes(r) for r, tagged in parts.items())
        for r, tagged in parts.items():
            if not tagged:
                continue
            address = relayagent.join(tagged[0], r.domain)
            if key(address) in taken:
                message.remove_recipient(r)  # two tags of one alias are one mailbox: one copy
            else:
                taken.add(key(address))
                message.replace_recipient(r, address)
        # Everybody gets the same Subject: people outside are not shown under which addresses
        # somebody here is written to.
        if len(tags) == 1 and not outside:
            self.mark(message.header, clean(tags.pop()))

    def takes(self, recipient):
        return bool(recipient.domain) and relayagent.matches(self.domains, recipient.domain)

    def parts(self, recipient):
        """The alias and the tag of a recipient that is to be rewritten; else None."""
        local = recipient.local
        if not self.takes(recipient) or local.lower() in self.leave_alone:
            return None
        alias, _, tag = local.partition(self.separator)
        return (alias, tag) if alias and tag else None

    def mark(self, header, tag):
        """Puts the tag before the Subject."""
        if not tag:
            return  # nothing of it can be shown
        mark = self.format.replace("{tag}", tag)
        alone, subject = mark.rstrip(" "), header.field("Subject")
        if subject is None:
            header.add("Subject", alone)
        elif not subject.text:
            subject.text = alone
        elif not begins(subject.text, mark):
            subject.raw = prefix(len(subject.name) + 2, mark, subject.raw)


def check(s):
    """Refuses every value that cannot be meant."""
    problems = []
    if not s["separator"] or re.search(r'[@" \\\0-\x1f\x7f]', s["separator"]):
        problems.append(("separator", 'must be one or more characters other than @, quote, backslash and space, '
                         f'such as "_" or "+", not {quoted(s["separator"])}'))
    if "{tag}" not in s["tag_format"]:
        problems.append(("tag_format", f'must contain {{tag}}, as in "[{{tag}}] ", not {quoted(s["tag_format"])}'))
    if re.search(r"[\0-\x1f\x7f]", s["tag_format"]):
        problems.append(("tag_format", "must not contain control characters"))
    for d in s["domains"]:
        if not re.fullmatch(r"[^@* ]+", d.removeprefix("*.")):
            problems.append(("domains", f'must be names such as "example.org" or "*.example.org", not {quoted(d)}'))
    for local in s["leave_alone"]:
        if not local or "@" in local:
            problems.append(("leave_alone", f"must be local parts, without @ and domain, not {quoted(local)}"))
    if problems:
        raise relayagent.SettingsError(problems)


def key(address):
    """An address for comparing: only the domain has no case (RFC 5321 §2.4)."""
    local, domain = relayagent.split(address)
    return relayagent.join(local, domain.lower())


def begins(text, mark):
    """Whether a text is marked already. "shop " is not the beginning of "shopping"."""
    alone = mark.rstrip(" ")
    rest = text.removeprefix(alone)
    return text.startswith(alone) and (alone == mark or not rest or rest[0] in " \t")


def prefix(column, mark, raw):
    """A raw Subject with the mark before it; the original's bytes stay as they are."""
    rest = raw.lstrip(b" \t")
    text = rest.lstrip(b" \t\r\n")
    encoded, gap = text.startswith(b"=?"), b""
    if not plain(mark):
        # White space between encoded words is not shown (RFC 2047 §6.2): that of the mark goes
        # inside its word.
        mark, gap = encode(mark if encoded else mark.rstrip(" ")), b" "
    else:
        alone = mark.rstrip(" ")
        gap = mark[len(alone):].encode() or (b" " if encoded else b"")
        mark = alone.encode()
    if rest != text:  # the original begins with a fold, which is the gap
        return b" " + mark + rest
    first = rest.split(b"\r\n", 1)[0]
    line = column + len(mark) + len(gap) + len(first)
    if gap and (line > MAX_LINE or line > MAX_ENCODED_LINE and b"=?" in mark + first):
        gap = b"\r\n" + gap
    return b" " + mark + gap + rest


def plain(mark):
    return re.fullmatch("[ -~]*", mark) is not None and "=?" not in mark


def encode(mark):
    """Encoded words of at most 75 characters, each on a line of its own where there are several."""
    words, word = [], ""
    for character in mark:
        q = "".join(chr(b) if 0x21 <= b <= 0x7E and b not in b"=?_" else "_" if b == 0x20 else f"={b:02X}"
                    for b in character.encode())
        if len("=?utf-8?q??=") + len(word) + len(q) > 75:
            words.append(word)
            word = ""
        word += q
    return "\r\n ".join(f"=?utf-8?q?{w}?=" for w in [*words, word]).encode()


def clean(tag):
    """A tag fit to be shown: without controls, and without what would turn the writing around it."""
    return "".join(c for c in tag if unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp"))


if __name__ == "__main__":
    relayagent.serve(relayagent.Factory(
        "catchall", Catchall,
        description="delivers alias_tag@domain to alias@domain and puts [tag] before the Subject",
        asks=["change_headers", "change_recipients"],
        changes_recipients_at="end_of_headers",
        headers=["Subject"],
    ))
