"""How much is taken in: bytes that come and go, and requests that wait for a graph."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
import time
from collections.abc import AsyncIterator, Callable

from tf_deblur.serving.status import Failure, late

FIRST_SECONDS = 20  # a body must be there within these, and one more for each SLOWEST bytes
SLOWEST = 100_000
LARGE = 1_000_000  # bytes of a body
REST = 3  # large requests pause for so many times what one took, while others wait


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


@dataclasses.dataclass(eq=False)
class _Job:
    """A request whose body is there: work(body) makes its reply."""

    work: Callable[[bytes], bytes]
    body: bytes
    large: bool
    reply: asyncio.Future
    task: asyncio.Task | None = None


class Workers:
    """Threads in which requests are worked on from text to text, and the queue before them.

    A request has its place until its work has ended, also where nobody waits for it any more. Of
    what waits only the body is there: all that it unpacks to is bounded by the threads' number.
    Large requests take half of the threads at most, and those for a quarter of the time while
    others wait: to find that one is no good costs as much as to answer many others.
    """

    def __init__(self, threads: int, most: int, most_bytes: float):
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "graph")
        self._threads, self._most, self._most_bytes = threads, most, most_bytes
        self._waiting: list[_Job] = []
        self._begun: list[_Job] = []
        self._stopping = False
        self._rest = 0.0  # no large request begins until then, while others wait

    @property
    def count(self) -> int:
        return len(self._waiting) + len(self._begun)

    @property
    def held(self) -> int:
        return sum(len(job.body) for job in self._waiting + self._begun)

    async def run(
        self, seconds: float, work: Callable, body: bytes, large: bool, receive: Callable
    ) -> bytes:
        """What work(body) returns; Failure where there is no place, or no time left.

        Work that has not begun when the client has gone, which `receive` waits for, does not.
        """
        if self._stopping:
            raise _refuse_to_begin()
        if self.count >= self._most:
            text = f"Too many requests: {self.count} are under way, see --queue_size"
            raise Failure("RESOURCE_EXHAUSTED", text)
        if self.held + len(body) > self._most_bytes:
            text = "Too many requests: those under way are too large together, see --queue_mb"
            raise Failure("RESOURCE_EXHAUSTED", text)
        reply = asyncio.get_running_loop().create_future()
        job = _Job(work, body, large or len(body) > LARGE, reply)
        self._waiting.append(job)
        self._begin()
        gone = asyncio.ensure_future(receive())
        gone.add_done_callback(lambda _: reply.cancel())
        try:
            return await asyncio.wait_for(reply, seconds or None)
        except TimeoutError as error:
            raise late() from error
        except asyncio.CancelledError:
            if not gone.done():
                raise
            raise Failure("CANCELLED", "The client has gone") from None
        finally:
            gone.cancel()
            if job in self._waiting:
                self._waiting.remove(job)

    def _begin(self):
        """Begins what there are threads for, the oldest first."""
        rest = self._rest > time.monotonic() and not all(job.large for job in self._waiting)
        for job in [*self._waiting]:
            large = sum(each.large for each in self._begun)
            fits = not job.large or (large < self._threads / 2 and not rest)
            if len(self._begun) < self._threads and fits:
                self._waiting.remove(job)
                self._begun.append(job)
                job.task = asyncio.ensure_future(self._work(job))

    async def _work(self, job):
        loop, begin = asyncio.get_running_loop(), time.monotonic()
        try:
            reply = await loop.run_in_executor(self._pool, job.work, job.body)
            tell = functools.partial(job.reply.set_result, reply)
        except Exception as error:
            tell = functools.partial(job.reply.set_exception, error)
        self._begun.remove(job)
        if job.large:
            rest = REST * (time.monotonic() - begin)
            self._rest = time.monotonic() + rest
            loop.call_later(rest, self._begin)
        if not job.reply.done():
            tell()
        self._begin()

    def stop(self) -> None:
        """What has not begun does not, and nothing else comes."""
        self._stopping = True
        for job in self._waiting:
            if not job.reply.done():  # its client has gone just now
                job.reply.set_exception(_refuse_to_begin())
        self._waiting = []


def _refuse_to_begin():
    return Failure("UNAVAILABLE", "The server is stopping; ask again, or another one")
