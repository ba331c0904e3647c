"""The HTTP of one request over ASGI: its address, its body within limits, its reply."""

import asyncio
import contextlib
import dataclasses
import re
import time
import urllib.parse
import zlib

from tf_deblur.serving.status import Failure

JSON, HTML = "application/json", "text/html; charset=utf-8"
EMPTY = "text/html; charset=ISO-8859-1"  # what libevent sends with an empty body
MOST_UNPACKED = 100 << 20  # bytes of a gzip body, as in TensorFlow Serving
FIRST_SECONDS = 20  # a body must be there within these, and one more for each SLOWEST bytes
SLOWEST = 100_000
LINGER, PAUSE = 5, 0.5  # seconds for a refused body to end, and for its next piece
_NAME = r"([^/:]+)"
_VERSION = rf"(?:/versions/([0-9]+)|/labels/{_NAME})?"
PREDICT = re.compile(rf"(?i:/v1/models/{_NAME}{_VERSION}):(classify|regress|predict)", re.S)
STATUS = re.compile(rf"(?i:/v1/models(?:/{_NAME})?{_VERSION}(/metadata)?)", re.S)
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclasses.dataclass
class Reply:
    """What goes back; `close` ends the connection after it."""

    status: int = 200
    body: bytes = b""
    kind: str = JSON
    headers: list = dataclasses.field(default_factory=list)
    close: bool = False


@dataclasses.dataclass
class Route:
    """What an address names: a model, perhaps a version or a label of it, and what to do.

    Attributes:
      action: "predict", "classify", "regress", "status" or "metadata".
      version: None, or a number; -1 where it is beyond int64.
    """

    action: str
    model: str
    version: int | None = None
    label: str | None = None


class Request:
    """A request that came in."""

    def __init__(self, scope, receive):
        self.method = scope["method"]
        query = scope["query_string"]
        path = scope.get("raw_path") or scope["path"].encode()
        self.address = (path + (b"?" + query if query else b"")).decode("utf-8", "surrogateescape")
        self.client = (scope.get("client") or ("",))[0]
        self.headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        self.begin, self.size, self.model = time.monotonic(), 0, ""
        self._receive, self._more = receive, True
        if self.header("content-length") in ("", "0") and not self.header("transfer-encoding"):
            self._more = False

    def header(self, name):
        return self.headers.get(name, b"").decode("latin-1")

    def route(self):
        """The Route that the address and the method name; None if there is none."""
        if self.method == "POST":
            found = PREDICT.fullmatch(self.address)
            return found and _route(found[4], *found.groups()[:3])
        found = STATUS.fullmatch(self.address) if self.method == "GET" else None
        if not found:
            return None
        action = "metadata" if found[4] == "/metadata" else "status"
        return _route(action, *found.groups()[:3])

    async def body(self, most, hold):
        """The whole body, unpacked.

        Args:
          most: bytes; a longer one is refused, at once if it says its length.
          hold: called with the number of bytes of each piece that comes; it may refuse.

        Raises:
          Failure: too long, too slow, or the client has gone.
        """
        declared = self.header("content-length")
        if declared.isdecimal() and int(declared) > most:
            raise _too_long(most)
        parts = []
        while self._more:
            left = FIRST_SECONDS + self.size / SLOWEST - (time.monotonic() - self.begin)
            try:
                message = await asyncio.wait_for(self._receive(), max(left, 0.001))
            except (asyncio.TimeoutError, TimeoutError) as error:
                text = "The request's body came too slowly"
                raise Failure("DEADLINE_EXCEEDED", text, http=408) from error
            if message["type"] != "http.request":
                self._more = False
                raise Failure("CANCELLED", "The client has gone")
            self._more = message.get("more_body", False)
            part = message.get("body", b"")
            parts.append(part)
            self.size += len(part)
            if self.size > most:
                raise _too_long(most)
            hold(len(part))
        body = b"".join(parts)
        return unpack(body) if "gzip" in self.header("content-encoding") else body

    async def let_end(self):
        """Reads what is left of the body, to no end: who still sends may not see the reply.

        A connection that is closed under a sender is reset, and what was answered is lost.
        """
        until = time.monotonic() + LINGER
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            while self._more and time.monotonic() < until:
                message = await asyncio.wait_for(self._receive(), PAUSE)
                self._more = message.get("more_body", False)


def _route(action, model, version, label):
    number = version
    if version is not None:
        digits = version.lstrip("0") or "0"
        number = int(digits) if len(digits) < 20 and int(digits) < 1 << 63 else -1
    model, label = (
        text and urllib.parse.unquote(text, errors="surrogateescape") for text in (model, label)
    )
    return Route(action, model, number, label)


def _too_long(most):
    text = f"The request is larger than {most / 1e6:g} MB, see --max_request_mb"
    return Failure("INVALID_ARGUMENT", text, http=413)


def unpack(body):
    """A gzip body's content; empty where it is damaged, too large, or more than one member."""
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = unpack.decompress(body, MOST_UNPACKED + 1)
    except zlib.error:
        return b""
    whole = unpack.eof and not unpack.unused_data and len(content) <= MOST_UNPACKED
    return content if whole else b""


async def send(reply, request, out, server_headers=()):
    """Sends a reply; a HEAD's has no body."""
    headers = [("content-type", reply.kind), *reply.headers, *server_headers]
    if reply.close:
        headers.append(("connection", "close"))
    bare = request.method == "HEAD"
    if not bare:
        headers.append(("content-length", str(len(reply.body))))
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await out({"type": "http.response.start", "status": reply.status, "headers": encoded})
    await out({"type": "http.response.body", "body": b"" if bare else reply.body})
