"""The header section of a message, in its order and byte for byte."""

from . import words


class Field:
    """One header field."""

    __slots__ = ("_header", "id", "name", "_raw", "_sent", "_bottom")

    def __init__(self, header, id, name, raw, bottom=False):
        self._header, self.id, self.name, self._raw = header, id, name, raw
        self._sent = raw if id else None  # the value the relay has; None: it has none
        self._bottom = bottom

    @property
    def raw(self):
        """What stands after the colon, byte for byte, without the line end."""
        return self._raw

    @raw.setter
    def raw(self, value):
        self._header._touch(self)
        self._raw = bytes(value)

    @property
    def text(self):
        """The value unfolded, with encoded words decoded, without white space around it."""
        return words.decode(self._raw)

    @text.setter
    def text(self, text):
        self.raw = words.encode(self.name, text)

    def remove(self):
        self._header._touch(self)
        self._header._fields.remove(self)


class Header:
    """The header section. What is not edited stays as it came; names have no case."""

    __slots__ = ("_message", "_block", "_fields", "_sent", "_before")

    def __init__(self, message):
        self._message = message
        self._block = None  # parsed when first asked for: many handlers never look
        self._fields, self._sent, self._before = [], [], None

    def take(self, block):
        self._block = block

    def __iter__(self):
        return iter(list(self._all()))

    def __contains__(self, name):
        return self.field(name) is not None

    def field(self, name):
        """The first field of the name; None if there is none."""
        name = name.lower()
        return next((f for f in self._all() if f.name.lower() == name), None)

    def text(self, name):
        """The decoded text of the first field of the name; "" if there is none."""
        field = self.field(name)
        return field.text if field else ""

    def set_text(self, name, text):
        """Changes the first field of the name in its place; adds one at the top if there is none."""
        field = self.field(name)
        if field:
            field.text = text
        else:
            self.add(name, text)

    def add(self, name, text):
        """Adds a field at the top, as trace fields are added."""
        return self.add_raw(name, words.encode(name, text))

    def add_last(self, name, text):
        """Adds a field at the bottom."""
        return self.add_raw(name, words.encode(name, text), bottom=True)

    def add_raw(self, name, value, bottom=False):
        """Adds a field with a value that brings its own leading space."""
        self._touch()
        field = Field(self, 0, name, bytes(value), bottom)
        self._fields.insert(len(self._fields) if bottom else 0, field)
        return field

    def remove(self, name):
        """Removes every field of the name and returns how many there were."""
        found = [f for f in self._all() if f.name.lower() == name.lower()]
        for field in found:
            field.remove()
        return len(found)

    def _all(self):
        if self._block is not None:
            block, self._block = self._block, None
            self._fields, start = [], 0
            for i, end in enumerate(block.end):
                name, raw = _part(block.raw[start:end])
                self._fields.append(Field(self, block.id[i] if i < len(block.id) else i + 1, name, raw))
                start = end
            self._sent = list(self._fields)
        return self._fields

    def _touch(self, field=None):
        """Prepares an edit: it notes the fields as they are before the handler's first."""
        self._message._session._may_edit()
        self._all()
        if field is not None and field.id == 0 and field._sent is not None:
            raise RuntimeError(f"header: {field.name}: the relay has not numbered this field yet")
        if self._before is None:
            self._before = [(f, f._raw) for f in self._fields]

    def restore(self):
        """Takes back what a handler did that has failed."""
        if self._before is not None:
            for field, raw in self._before:
                field._raw = raw
            self._fields, self._before = [f for f, _ in self._before], None

    def edits(self, edit):
        """Adds the edits that make the relay's header section out of what it was; edit makes one."""
        if self._before is None:
            return
        kept = set(map(id, self._fields))
        for f in self._sent:
            if id(f) not in kept:
                edit().remove_header.id = f.id
        for f in self._fields:
            if f.id and f._raw != f._sent:
                change = edit().replace_header
                change.id, change.value = f.id, f._raw
        made = [f for f in self._fields if f.id == 0 and f._sent is None]
        # Each goes above those before it, so that the last one here is the first there.
        for f in [f for f in reversed(made) if not f._bottom] + [f for f in made if f._bottom]:
            add = edit().add_header
            add.name, add.value = f.name, f._raw
            if f._bottom:
                add.bottom = True

    def commit(self):
        """Ends the handler's turn: its edits go out."""
        if self._before is None:
            return
        self._before = None
        for f in self._fields:
            f._sent = f._raw
        self._sent = [f for f in self._fields if f.id]


def _part(field):
    """The name and what follows the colon. A line that is no field (RFC 5322 §2.2) has no name."""
    if field.endswith(b"\n"):
        field = field[:-1]
    if field.endswith(b"\r"):
        field = field[:-1]
    name, colon, raw = field.partition(b":")
    name = name.rstrip(b" \t")  # "Subject :" is obsolete, RFC 5322 §4.5.8
    if not colon or any(c <= 0x20 or c > 0x7E for c in name):
        return "", field
    return name.decode("ascii"), raw
