"""The operator's settings: every problem has the name of its field."""

import json


class SettingsError(Exception):
    """Settings that are refused: a list of (field, problem); the field "" is the whole."""

    def __init__(self, problems):
        super().__init__("\n".join(f"{f}: {p}" if f else p for f, p in problems))
        self.problems = list(problems)


def quoted(text):
    """A text as messages show it."""
    return json.dumps(text, ensure_ascii=False)


def read(given, defaults):
    """The settings over their defaults, whose types they must have.

    A list's first element shows the type of all; an empty one holds strings.
    """
    if not given.strip():
        return dict(defaults)
    problems = []
    values = _table(json.loads(given, parse_constant=str), defaults, "", problems)
    if problems:
        raise SettingsError(problems)
    return values


def _table(given, defaults, path, problems):
    if not isinstance(given, dict):
        problems.append((path.rstrip("."), "must be a table, not " + _kind(given)))
        return defaults
    values = dict(defaults)
    for name in sorted(given):
        if name not in defaults:
            known = "there are " + ", ".join(sorted(defaults)) if defaults else "there are none"
            problems.append((path + name, "unknown setting; " + known))
        elif isinstance(defaults[name], dict):
            values[name] = _table(given[name], defaults[name], path + name + ".", problems)
        elif _is_like(given[name], defaults[name]):
            values[name] = given[name]
        else:
            problems.append((path + name, f"must be {_wanted(defaults[name])}, not {_kind(given[name])}"))
    return values


def _sample(values):
    return values[0] if values else ""


def _is_like(value, default):
    if isinstance(default, list):
        return isinstance(value, list) and all(_is_like(v, _sample(default)) for v in value)
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def _wanted(default):
    if isinstance(default, str):
        return "a string"
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, list):
        return f"a list (each {_wanted(_sample(default))})"
    if isinstance(default, float):
        return "a number"
    return "a whole number"


def _kind(value):
    if isinstance(value, str):
        return "a string"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    return "nothing" if value is None else f"the number {value}"
