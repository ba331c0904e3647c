"""uvicorn inside our own process: the address is ours from the start, and opens once models are.

uvicorn has no end for a header that does not come, for a reply that nobody reads and for chunks of
a byte, each of which costs as much as one of many: `_Protocol` adds them.
"""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Callable

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tf_deblur.errors import UserError

HEADER_SECONDS = 20  # a request whose header is not there by then is cut off
PIECE_SECONDS = 10  # and a client that does not read a piece of its reply
PARTS, PART = 1000, 1000  # more parts than that of a body have so many bytes on average
BACKLOG = 2048  # connections that wait to be accepted
BAD_REQUEST = b'{"error": "Not a request of HTTP/1.1 that can be read"}'


def bind(host: str, port: int) -> socket.socket:
    """A socket of the first address that a name stands for and that is this machine's, IPv4 first.

    Raises:
      UserError: it is none, or taken.
    """
    try:
        found = sorted(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "cannot be a host's name"
        raise UserError(f"--host={host}: {reason}; use 127.0.0.1 or 0.0.0.0") from error
    for family, kind, protocol, _, address in found:
        # of TCP by name, else asyncio leaves small packets waiting: 45 ms for each reply
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
            # until it listens: another server that still loads may not bind it as well
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            return bound
        except OSError as error:
            bound.close()
            reason = error.strerror or error
    raise UserError(f"{host}:{port}: {reason}; see --rest_api_port and --host")


class _Protocol(H11Protocol):
    """A connection; one that keeps us waiting is cut off."""

    _waiting: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self._room, self._take = PARTS, self.conn.next_event
        self.conn.next_event = self._count
        self._expect_header()

    def _count(self):
        event = self._take()
        if isinstance(event, h11.Request):
            self._room = PARTS
        if isinstance(event, h11.Data):
            self._room += len(event.data) / PART - 1
            if self._room < 0:
                raise h11.RemoteProtocolError("A body in too small parts")
        return event

    def data_received(self, data):
        super().data_received(data)
        self._expect_header()

    def _expect_header(self):
        if self.cycle and not self.cycle.response_complete:
            self._waiting = _cancel(self._waiting)
        elif not self._waiting:
            self._waiting = self.loop.call_later(HEADER_SECONDS, self.transport.abort)

    def pause_writing(self):
        super().pause_writing()
        self._unread = self.loop.call_later(PIECE_SECONDS, self.transport.abort)

    def resume_writing(self):
        super().resume_writing()
        self._unread = _cancel(self._unread)

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self._waiting, self._unread = _cancel(self._waiting), _cancel(self._unread)

    def send_400_response(self, msg):
        head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: application/json"
        self.transport.write(
            f"{head}\r\ncontent-length: {len(BAD_REQUEST)}\r\n\r\n".encode() + BAD_REQUEST
        )
        self.transport.close()


def _cancel(timer):
    if timer:
        timer.cancel()


class _Server(uvicorn.Server):
    def capture_signals(self):
        return contextlib.nullcontext()  # the command has its own


@contextlib.asynccontextmanager
async def serve(
    application: Callable, bound: socket.socket, drain_seconds: float
) -> AsyncIterator[None]:
    """Serves an ASGI application inside the block; then ends what is under way, or cuts it off."""
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server may follow this one
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each connection takes one
    config = uvicorn.Config(
        application,
        http=_Protocol,
        ws="none",
        lifespan="off",
        backlog=BACKLOG,
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )
    server = _Server(config)
    task = asyncio.ensure_future(server.serve(sockets=[bound]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task
