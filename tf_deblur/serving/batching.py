"""Several requests of equal shape in one run of the graph."""

import asyncio
import collections
import dataclasses

import numpy as np

from tf_deblur.serving.status import Failure, invalid


@dataclasses.dataclass
class Limits:
    """TensorFlow Serving's names and meanings; its defaults wait for nobody."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 1


@dataclasses.dataclass
class _Batch:
    key: tuple
    tasks: list = dataclasses.field(default_factory=list)  # (tensors, future)
    size: int = 0


class Batcher:
    """Collects requests, each batch with one model, signature and shape; lives in one event loop.

    Args:
      run: async function (loaded, signature, tensors) -> outputs.
      limits: `Limits`.
    """

    def __init__(self, run, limits):
        self._run, self._limits = run, limits
        self._open = {}  # key -> _Batch that still takes requests
        self._closed = collections.deque()  # full or old, waiting for a thread
        self._running = 0

    async def __call__(self, loaded, name, tensors):
        sizes = {array.shape[0] if array.ndim else None for array in tensors.values()}
        if None in sizes:
            raise invalid("Batching Run() input tensors must have at least one dimension")
        if len(sizes) > 1:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        (size,) = sizes
        most = self._limits.max_batch_size
        if size > most:
            text = f"Task size {size} is larger than maximum input batch size {most}"
            raise invalid(text)
        if not size:
            return await self._run(loaded, name, tensors)
        future = asyncio.get_running_loop().create_future()
        batch = self._place(loaded, name, tensors, size)
        batch.tasks.append((tensors, future))
        batch.size += size
        if batch.size == most:
            self._close(batch)
        return await future

    def _place(self, loaded, name, tensors, size):
        """The open batch that a request goes into, perhaps a new one."""
        shapes = tuple((key, array.shape[1:]) for key, array in sorted(tensors.items()))
        key = (loaded, name, shapes)
        batch = self._open.get(key)
        if batch and batch.size + size > self._limits.max_batch_size:
            self._close(batch)
            batch = None
        if batch:
            return batch
        waiting, most = len(self._closed) + len(self._open), self._limits.max_enqueued_batches
        if waiting >= most:
            raise Failure(
                "UNAVAILABLE",
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{waiting} batches enqueued and max_enqueued_batches is {most}",
            )
        batch = self._open[key] = _Batch(key)
        seconds = self._limits.batch_timeout_micros / 1e6
        asyncio.get_running_loop().call_later(seconds, self._close, batch)
        return batch

    def _close(self, batch):
        if self._open.get(batch.key) is batch:
            del self._open[batch.key]
            self._closed.append(batch)
            self._start()

    def _start(self):
        while self._closed and self._running < self._limits.num_batch_threads:
            self._running += 1
            asyncio.ensure_future(self._work(self._closed.popleft()))

    async def _work(self, batch):
        loaded, name, _ = batch.key
        tasks = [task for task in batch.tasks if not task[1].done()]  # else: given up
        try:
            if tasks:
                joined = {
                    key: np.concatenate([tensors[key] for tensors, _ in tasks])
                    for key in tasks[0][0]
                }
                outputs = await self._run(loaded, name, joined)
                self._deliver(tasks, outputs)
        except Exception as error:  # each of the batch's requests gets it
            for _, future in tasks:
                if not future.done():
                    future.set_exception(error)
        finally:
            self._running -= 1
            self._start()

    def _deliver(self, tasks, outputs):
        sizes = [len(next(iter(tensors.values()))) for tensors, _ in tasks]
        for array in outputs.values():
            if not array.ndim:
                raise invalid("Batched output tensor has 0 dimensions")
            if len(array) != sum(sizes):
                raise invalid(
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors"
                )
        begin = 0
        for (_, future), size in zip(tasks, sizes):
            part = {key: array[begin : begin + size] for key, array in outputs.items()}
            begin += size
            if not future.done():
                future.set_result(part)
