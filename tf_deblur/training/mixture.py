"""What a batch is made of: patches of prepared pairs, and of pairs made of photographs."""

import tensorflow as tf

from tf_deblur.errors import UserError
from tf_deblur.training import stream
from tf_deblur.training.ring import Ring


class Mixture:
    """Batches of which each source gives a fixed part, a function of the step's number alone.

    Args:
      prepared: list of (`stream.Pairs`, weight).
      folders: list of (paths of photographs, weight); one of the two lists may be empty.
      batch_size: patches a batch, all workers together.
      worker, workers: this worker's number and how many there are.
      rotation, cache: of prepared pairs, as in `stream.training_batches`.
      **patches: what both kinds want to know of a patch.

    Raises:
      UserError: a kind's part of a batch is no patch, or `Ring` or the stream raises it.
    """

    def __init__(
        self, prepared, folders, *, batch_size, worker, workers, rotation, cache, **patches
    ):
        weights = [sum(weight for _, weight in part) for part in (prepared, folders)]
        made = workers * round(batch_size * weights[1] / sum(weights) / workers)
        if bool(made) != bool(folders) or (made < batch_size) != bool(prepared):
            raise UserError(
                f"a batch of {batch_size} patches has none of one of its data sets; use a "
                "larger --batch_size, or leave that data set out"
            )
        share = {"worker": worker, "workers": workers}
        self.options = {"rotation": rotation, "cache": cache, **share, **patches}
        self.prepared, self.count = prepared, batch_size - made
        if prepared:
            stream.check(prepared, cache)
        self.ring = Ring(folders, count=made, **share, **patches) if folders else None

    def batches(self, step):
        """Endless batches from a step on: (blurred, sharp), (n, s, s, 3) float32 in [0, 1]."""
        parts = []
        if self.prepared:
            count, start = self.count, step * self.count
            parts.append(
                stream.training_batches(
                    self.prepared, batch_size=count, start=start, **self.options
                )
            )
        if self.ring:
            parts.append(self.ring.batches(step))
        return map(_joined, *parts)


def _joined(*batches):
    return tuple(tf.concat(halves, 0) for halves in zip(*batches))
