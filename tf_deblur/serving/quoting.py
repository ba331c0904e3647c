"""How error messages quote a JSON value: RapidJSON's pretty print, cut off."""

import math
import re

from tf_deblur.serving import grisu

LIMIT = 256  # bytes after which nothing more is written; a single string is written whole
INDENT = "    "
ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r"}
ESCAPES |= {"\t": "\\t"}
ESCAPED = re.compile(r'["\\\x00-\x1f]')


class _Full(Exception):
    """Enough has been written."""


def quote(value):
    """The value's text: four spaces an object's level, arrays on one line."""
    parts, size = [], 0

    def write(text, prefix=""):
        nonlocal size
        parts.append(prefix + text)
        size += len((prefix + text).encode("utf-8", "surrogateescape"))
        if size >= LIMIT:
            raise _Full

    try:
        _write(value, write, "", 0)
    except _Full:
        pass
    return "".join(parts)


def _write(value, write, prefix, level):
    from tf_deblur.serving.documents import Object

    if isinstance(value, Object):
        write("{", prefix)
        for index, (name, member) in enumerate(value):
            write(string(name), "," * (index > 0) + "\n" + INDENT * (level + 1))
            _write(member, write, ": ", level + 1)
        write("}", ("\n" + INDENT * level) * bool(value))
    elif isinstance(value, list):
        write("[", prefix)
        for index, element in enumerate(value):
            _write(element, write, ", " * (index > 0), level + 1)
        write("]")
    elif isinstance(value, float) and not math.isfinite(value):
        write("", prefix)
        raise _Full  # RapidJSON's writer gives up
    else:
        write(scalar(value), prefix)


def scalar(value):
    if isinstance(value, str):
        return string(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return double(value) if isinstance(value, float) else str(value)


def string(text):
    """A JSON string as RapidJSON writes it: escaped where it must be, nothing else."""
    return '"' + ESCAPED.sub(_escape, text) + '"'


def _escape(match):
    return ESCAPES.get(match.group()) or f"\\u{ord(match.group()):04X}"


def double(value):
    """A double as RapidJSON writes it, with a point or an exponent."""
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return sign + "0.0"
    digits, exponent = grisu.digits(abs(value))
    point = len(digits) + exponent  # where it stands, counted from the first digit
    if exponent >= 0 and point <= 21:
        return f"{sign}{digits}{'0' * exponent}.0"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1}"
