"""Texts of header fields: encoded words (RFC 2047) and folding (RFC 5322 §2.2.3)."""

import base64
import binascii
import quopri
import re
from email.header import Header as _Header

_WORD = re.compile(r"=\?([^?\s*]+)(?:\*[^?\s]*)?\?([bBqQ])\?([^?\s]*)\?=")


def decode(raw):
    """The text of a raw value: unfolded, encoded words decoded, no white space around it.

    Words that cannot be decoded stay as they are. Bytes beyond ASCII are UTF-8 (RFC 6532);
    where they are not, they become U+FFFD.
    """
    text = raw.replace(b"\r", b"").replace(b"\n", b"").decode("utf-8", "replace").strip(" \t")
    out, waiting, end = [], None, 0  # waiting: charset and bytes of words that belong together
    for match in _WORD.finditer(text):
        between = text[end:match.start()]
        content = _content(match[2], match[3])
        charset = match[1].lower()
        if content is None or not _known(charset):
            continue
        if waiting and not between.strip(" \t"):
            if waiting[0] == charset:  # a character may be split between words, against §5
                waiting = (charset, waiting[1] + content)
            else:
                out.append(_text(*waiting))
                waiting = (charset, content)
        else:
            out.append((_text(*waiting) if waiting else "") + between)
            waiting = (charset, content)
        end = match.end()
    return "".join(out) + (_text(*waiting) if waiting else "") + text[end:]


def _content(encoding, text):
    try:
        if encoding in "bB":
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        return quopri.decodestring(text.encode("ascii"), header=True)
    except (binascii.Error, ValueError):
        return None


def _known(charset):
    try:
        b"x".decode(charset, "replace")  # of nothing Python would decode any charset
        return True
    except (LookupError, UnicodeError):  # unknown, or no charset at all such as "base64"
        return False


def _text(charset, content):
    try:
        return content.decode(charset, "replace")
    except UnicodeError:
        return content.decode("ascii", "replace")


def encode(name, text):
    """The raw value of a field: a space, and the text with encoded words where it needs them."""
    text = re.sub("[\r\n\0]", " ", text.encode("utf-8", "replace").decode("utf-8"))
    return b" " + _folded(len(name) + 2, text).encode("ascii")


def _folded(column, text):
    long = any(len(word) > 900 for word in text.split(" "))
    if text.isascii() and text.isprintable() and "=?" not in text and not long:
        return _plain(column, text)
    header = _Header(text, "utf-8", maxlinelen=76, header_name="x" * (column - 2))
    return header.encode(linesep="\r\n")


def _plain(column, text):
    """Breaks lines before spaces that have something before and behind them."""
    lines, line = [], ""
    for part in re.findall(r" *[^ ]+ *$| *[^ ]+", text):
        if line.strip() and column + len(line) + len(part) > 78 and part.startswith(" "):
            lines.append(line)
            line, column = part, 0
        else:
            line += part
    return "\r\n".join([*lines, line])
