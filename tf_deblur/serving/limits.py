"""How much is taken in: bytes that come and go, and requests that wait for a graph."""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import AsyncIterator, Callable

from tf_deblur.serving.status import Failure

FIRST_SECONDS = 20  # a body must be there within these, and one more for each SLOWEST bytes
SLOWEST = 100_000


class Transfer:
    """A body that comes, or a reply that goes: its time ends, sooner where others lack room."""

    def __init__(self, everyone: "Transfers", limit: asyncio.Timeout):
        self._everyone, self._limit, self.size = everyone, limit, 0
        self._end = limit.when() or 0.0

    def add(self, size: int) -> None:
        """Counts bytes, which bring time with them."""
        self.size += size
        self._end += size / SLOWEST
        self._limit.reschedule(self._end)
        self._everyone.make_room(self)

    def end(self) -> None:
        if not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())
        self.size = 0


class Transfers:
    """All of them, the oldest first: where there is no room for another's bytes, it ends."""

    def __init__(self, most: float):
        self._most = most
        self._all: dict[Transfer, bool] = {}

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Transfer]:
        """Raises TimeoutError out of its block when the transfer's time has ended."""
        async with asyncio.timeout(FIRST_SECONDS) as limit:
            transfer = Transfer(self, limit)
            self._all[transfer] = True
            try:
                yield transfer
            finally:
                del self._all[transfer]

    def make_room(self, newest: Transfer) -> None:
        for transfer in [*self._all]:
            if sum(each.size for each in self._all) <= self._most:
                return
            if transfer is not newest or len(self._all) == 1:
                transfer.end()

    def end_all(self) -> None:
        for transfer in self._all:
            transfer.end()


class Workers:
    """Threads in which requests are worked on from text to text, and the queue before them.

    A request has its place until its work has ended, also where nobody waits for it any more. Of
    what waits only the body is there: all that it unpacks to is bounded by the threads' number.
    """

    def __init__(self, threads: int, most: int, most_bytes: float):
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "graph")
        self._most, self._most_bytes = most, most_bytes
        self.count, self.held = 0, 0

    async def run(self, seconds: float, work: Callable, body: bytes, receive: Callable) -> bytes:
        """What work(body) returns; Failure where there is no place, or no time left.

        Work that has not begun when the client has gone, which `receive` waits for, does not.
        """
        size = len(body)
        if self.count >= self._most:
            text = f"Too many requests: {self.count} are under way, see --queue_size"
            raise Failure("RESOURCE_EXHAUSTED", text)
        if self.held + size > self._most_bytes:
            text = "Too many requests: those under way are too large together, see --queue_mb"
            raise Failure("RESOURCE_EXHAUSTED", text)
        self.count += 1
        self.held += size
        loop = asyncio.get_running_loop()

        def leave(_):
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._leave, size)

        future = self._pool.submit(work, body)
        future.add_done_callback(leave)
        reply, gone = asyncio.wrap_future(future), asyncio.ensure_future(receive())
        gone.add_done_callback(lambda _: reply.cancel())
        try:
            return await asyncio.wait_for(reply, seconds or None)
        except TimeoutError as error:
            text = "It took longer than --rest_api_timeout_in_ms"
            raise Failure("DEADLINE_EXCEEDED", text) from error
        except asyncio.CancelledError:
            if not gone.done():
                raise
            raise Failure("CANCELLED", "The client has gone") from None
        finally:
            gone.cancel()

    def _leave(self, size):
        self.count -= 1
        self.held -= size

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
