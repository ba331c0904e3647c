"""Granian, the ASGI server, inside our own process: the port opens once models are loaded."""

import asyncio
import contextlib
import resource
import socket

from granian.http import HTTP1Settings
from granian.server.embed import Server

from tf_deblur.errors import UserError

HEADER_SECONDS = 20  # a request whose header is not there by then is cut off
MOST_HEADER = 1 << 20  # bytes of path and headers
BACKLOG = 2048  # connections that wait to be accepted


def find_address(host):
    """The address that a name stands for, IPv4's first; UserError if there is none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "cannot be a host's name"
        raise UserError(f"--host={host}: {reason}; use 127.0.0.1 or 0.0.0.0") from error
    return min(found)[-1][0]


def listen(host, port):
    """The port to serve on: as asked if it is free, or any free one for 0.

    Raises:
      UserError: it is taken, or no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{host}:{port}: {reason}; see --rest_api_port and --host") from error
        return probe.getsockname()[1]


@contextlib.asynccontextmanager
async def serving(application, host, port):
    """Serves an ASGI application inside the block."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each connection takes one
    server = Server(
        application,
        address=host,
        port=port,
        interface="asgi",
        http="1",
        websockets=False,
        backlog=BACKLOG,
        backpressure=BACKLOG,
        log_enabled=False,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=MOST_HEADER
        ),
    )
    task = asyncio.ensure_future(server.serve())
    try:
        while not await asyncio.to_thread(_is_open, host, port):
            if task.done():
                await task
                raise UserError(f"{host}:{port}: cannot be served on")
            await asyncio.sleep(0.02)
        yield
    finally:
        server.stop()
        await asyncio.wait([task], timeout=5)


def _is_open(host, port):
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False
