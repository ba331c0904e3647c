"""JSON text -> values, as RapidJSON 1.1.0 reads it for TensorFlow Serving, errors included.

Strict JSON, and NaN, Inf, Infinity with or without a minus. What follows the first document is
ignored, of equal keys the first counts, doubles are rounded as RapidJSON's fast way does. Values
are None, bool, int, float, str, list, and Object. Bytes that are not UTF-8 stand in a str as
surrogate escapes, so that they go out again as they came.

Large arrays of numbers go through orjson: the same numbers, but rounded exactly.
"""

import contextlib
import gc
import re

import numpy as np
import orjson

from tf_deblur.serving import decimals
from tf_deblur.serving.status import invalid

MOST_LEVELS = 10_000  # of nesting; TensorFlow Serving dies of some 50,000
MANY = 4096  # bytes from which on an array of numbers is given to orjson
NUMBERS_LEVELS = 8  # how deep such an array may begin: each try reads to its end

SPACE = re.compile(rb"[ \n\r\t]*")
PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
DIGITS = re.compile(rb"[0-9]*")
HEX = re.compile(rb"[0-9A-Fa-f]{4}")
NUMBERS = re.compile(rb"[\[\]\s,0-9eE.+-]*")
SHORT = {b"b": "\b", b"f": "\f", b"n": "\n", b"r": "\r", b"t": "\t"}
SHORT |= {byte: byte.decode() for byte in (b'"', b"\\", b"/")}
WORDS = {b"t": (b"true", True), b"f": (b"false", False), b"n": (b"null", None)}

# What the parser waits for, and what it says when something else comes. Two pairs say the same,
# and a space at the end, which is cut off, tells them apart: after a comma nothing may close.
START = "The document is empty."
FIRST_NAME, NAME = "Missing a name for object member.", "Missing a name for object member. "
COLON = "Missing a colon after a name of object member."
AFTER_MEMBER = "Missing a comma or '}' after an object member."
AFTER_ELEMENT = "Missing a comma or ']' after an array element."
FIRST_ELEMENT, VALUE = "Invalid value.", "Invalid value. "


class Object(list):
    """A JSON object: (name, value) pairs as they came; `get` finds the first."""

    def get(self, name, default=None):
        return next((value for key, value in self if key == name), default)

    def __contains__(self, name):
        return any(key == name for key, _ in self)


def parse(body):
    """The first JSON document in some bytes.

    Raises:
      Failure: as TensorFlow Serving says it, with the offset; or nested too deeply.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    return _Parser(body).document()


@contextlib.contextmanager
def _no_collection():
    """A million small lists would wake Python's collector of cycles again and again: five times
    as slow, and there are no cycles."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Parser:
    """Without recursion, so that no depth overflows the stack."""

    def __init__(self, text):
        self.text = text
        self.at = 3 if text.startswith(b"\xef\xbb\xbf") else 0

    def error(self, message, at=None):
        at = self.at if at is None else at
        return invalid(f"JSON Parse error: {message.strip()} at offset: {at}")

    def peek(self):
        return self.text[self.at : self.at + 1]

    def take(self, byte):
        found = self.peek() == byte
        self.at += found
        return found

    def document(self):
        """A loop over tokens; `waiting` says what may come, `stack` holds what is open."""
        stack, names, waiting, root = [], [], START, []
        while True:
            self.at = SPACE.match(self.text, self.at).end()
            token = self.peek()
            if token in (b"", b"\0"):
                raise self.error(waiting)
            closes = token == b"]" and waiting in (FIRST_ELEMENT, AFTER_ELEMENT)
            closes = closes or token == b"}" and waiting in (FIRST_NAME, AFTER_MEMBER)
            if closes:
                self.at += 1
                stack.pop()
            elif waiting in (AFTER_ELEMENT, AFTER_MEMBER):
                if token != b",":
                    raise self.error(waiting)
                self.at += 1
                waiting = VALUE if waiting == AFTER_ELEMENT else NAME
                continue
            elif waiting in (FIRST_NAME, NAME):
                if token != b'"':
                    raise self.error(waiting)
                names.append(self.string())
                waiting = COLON
                continue
            elif waiting == COLON:
                if token != b":":
                    raise self.error(waiting)
                self.at += 1
                waiting = VALUE
                continue
            elif token in b"]},:":
                raise self.error(waiting)
            else:
                value = self.value(token, len(stack))
                if not stack:
                    root = value
                elif isinstance(stack[-1], Object):
                    stack[-1].append((names.pop(), value))
                else:
                    stack[-1].append(value)
                if token in b"{[" and not value:  # open; an array of numbers comes whole
                    stack.append(value)
                    waiting = FIRST_NAME if token == b"{" else FIRST_ELEMENT
                    if len(stack) > MOST_LEVELS:
                        raise invalid(f"JSON nested deeper than {MOST_LEVELS} levels")
                    continue
            if not stack:
                return root
            waiting = AFTER_MEMBER if isinstance(stack[-1], Object) else AFTER_ELEMENT

    def value(self, token, level):
        """A scalar, an array of numbers, or an empty container whose bracket has been taken."""
        if token == b'"':
            return self.string()
        if token == b"{":
            self.at += 1
            return Object()
        if token == b"[":
            found = self.numbers() if level < NUMBERS_LEVELS else None
            self.at += found is None
            return [] if found is None else found
        if token in WORDS:
            word, value = WORDS[token]
            for byte in word:
                if not self.take(bytes([byte])):
                    raise self.error(VALUE)
            return value
        return self.number()

    def numbers(self):
        """A large array of numbers at this place, by orjson; None if it is not one."""
        if len(self.text) - self.at < MANY:
            return None
        run = self.text[self.at : NUMBERS.match(self.text, self.at).end()]
        if len(run) < MANY:
            return None
        codes = np.frombuffer(run, np.uint8)
        brackets = np.flatnonzero((codes == ord("[")) | (codes == ord("]")))
        depth = np.cumsum(np.where(codes[brackets] == ord("["), 1, -1))
        if not (depth == 0).any():
            return None
        length = int(brackets[np.argmax(depth == 0)]) + 1
        if length < MANY:
            return None
        try:
            with _no_collection():
                found = orjson.loads(run[:length])
        except orjson.JSONDecodeError:
            return None
        self.at += length
        return found or None

    def string(self):
        self.at += 1
        parts = []
        while True:
            plain = PLAIN.match(self.text, self.at)
            parts.append(plain.group())
            self.at = plain.end()
            byte = self.peek()
            if byte == b'"':
                self.at += 1
                return b"".join(parts).decode("utf-8", "surrogateescape")
            if byte == b"\\":
                parts.append(self.read_escape())
            elif byte in (b"", b"\0"):
                raise self.error("Missing a closing quotation mark in string.")
            else:
                raise self.error("Invalid escape character in string.")

    def read_escape(self):
        """The bytes that an escape stands for."""
        begin = self.at
        byte = self.text[begin + 1 : begin + 2]
        if byte in SHORT and byte:
            self.at += 2
            return SHORT[byte].encode()
        if byte != b"u":
            raise self.error("Invalid escape character in string.", begin)
        self.at += 2
        code = self.hexadecimal(begin)
        if 0xD800 <= code <= 0xDBFF:  # wants its other half; a lone lower half passes
            if self.text[self.at : self.at + 2] != b"\\u":
                raise self.error("The surrogate pair in string is invalid.", begin)
            self.at += 2
            low = self.hexadecimal(begin)
            if not 0xDC00 <= low <= 0xDFFF:
                raise self.error("The surrogate pair in string is invalid.", begin)
            code = (code - 0xD800 << 10 | low - 0xDC00) + 0x10000
        return chr(code).encode("utf-8", "surrogatepass")

    def hexadecimal(self, begin):
        found = HEX.match(self.text, self.at)
        if not found:
            message = "Incorrect hex digit after \\u escape in string."
            raise self.error(message, begin)
        self.at += 4
        return int(found.group(), 16)

    def digits(self):
        found = DIGITS.match(self.text, self.at)
        self.at = found.end()
        return found.group()

    def number(self):
        begin = self.at
        minus = self.take(b"-")
        if self.peek() in (b"I", b"N"):
            return -self.word() if minus else self.word()
        whole = b"0" if self.take(b"0") else self.digits()
        if not whole:
            raise self.error(VALUE)
        value = int(whole) if len(whole) < 20 else decimals.too_long(whole, minus)
        if isinstance(value, int) and value > (1 << 63 if minus else (1 << 64) - 1):
            value = decimals.too_long(whole, minus)
        if value is None:
            raise self.error("Number too big to be stored in double.", begin)
        places, power, is_double = 0, 0, isinstance(value, float)
        if self.take(b"."):
            fraction = self.digits()
            if not fraction:
                raise self.error("Miss fraction part in number.")
            value, places = decimals.with_fraction(value, whole, fraction)
            is_double = True
        if self.peek() in (b"e", b"E"):
            self.at += 1
            down = self.take(b"-")
            if not down:
                self.take(b"+")
            exponent = self.digits()
            if not exponent:
                raise self.error("Miss exponent in number.")
            power = int(exponent) if len(exponent) < 10 else 10**9
            if not down and len(exponent) > 1 and power > 308 + places:
                raise self.error("Number too big to be stored in double.", begin)
            power, is_double = (-power if down else power), True
        if not is_double:
            return -value if minus else value
        value = decimals.scale(float(value), power - places)
        return -value if minus else value

    def word(self):
        """NaN, Inf or Infinity."""
        if self.take(b"N"):
            if self.take(b"a") and self.take(b"N"):
                return float("nan")
        elif self.take(b"I") and self.take(b"n") and self.take(b"f"):
            if self.peek() != b"i" or all(self.take(bytes([byte])) for byte in b"inity"):
                return float("inf")
        raise self.error(VALUE)
