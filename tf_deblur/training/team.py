"""The processes and replicas that train one model together, on TensorFlow's own strategies.

Every process runs the same steps; the first one, the chief, alone writes. Whatever one
process decides (to stop, to save, how late it is) reaches the others through the same
reduction as a step's scalars, so that none waits for a step that another will not make.
"""

import contextlib
import hashlib
import json
import os
import threading
import typing
import zlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from tf_deblur import devices
from tf_deblur.errors import HERE, UserError, end_by_signals, quiet
from tf_deblur.models.layers import unwrap_variables

WAIT_MINUTES = 10  # for workers that have not started yet
# What TensorFlow raises when another process has ended.
ENDED = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)


class Agreement(typing.NamedTuple):
    """What a process wishes between two steps; and, added up, what all of them do.

    Attributes:
      elapsed: seconds of the step, of the chief's clock alone.
      save: above 0 for a checkpoint.
      stop: above 0 to end, after a signal.
    """

    elapsed: float = 0.0
    save: float = 0.0
    stop: float = 0.0


class Team:
    """Opens a strategy. To be called before anything else of TensorFlow's is.

    Args:
      name: "one_device", "mirrored" or "multi_worker_mirrored". None: several workers where
        TF_CONFIG names them, several replicas where there is more than one GPU, else one device.

    Attributes:
      strategy: the `tf.distribute.Strategy`; variables are made in its scope.
      index, count: this process's number, 0 for the chief, and how many there are.
      replicas: of all processes together.

    Raises:
      UserError: TF_CONFIG is missing or malformed, its port is taken, a worker never came.
    """

    def __init__(self, name: str | None = None):
        addresses, self.index = _read_tf_config()
        if name is None:
            several = "mirrored" if len(devices.list_gpus()) > 1 else "one_device"
            name = "multi_worker_mirrored" if addresses else several
        if name != "multi_worker_mirrored":
            addresses, self.index = [], 0
        elif not addresses:
            raise UserError("--strategy=multi_worker_mirrored wants TF_CONFIG, which is not set")
        self.count = max(1, len(addresses))
        self.strategy = _open(name, addresses, self.index)
        self.replicas = self.strategy.num_replicas_in_sync
        self.own_replicas = self.replicas // self.count

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.index == 0

    def compare(self, facts: dict[str, str]) -> None:
        """All processes together: UserError in each of them unless all hold the same facts.

        Args:
          facts: dict of texts by name; the names are the same everywhere.
        """
        if self.count == 1:
            return
        mine = tf.constant([zlib.crc32(text.encode()) >> 1 for text in facts.values()], tf.int64)
        row = tf.one_hot(self.index, self.count, dtype=tf.int64)[:, None] * mine
        table = self.add_up(row).numpy()
        for worker, row in enumerate(table):
            for name, one, chiefs in zip(facts, row, table[0]):
                if one != chiefs:
                    wrong = f"worker {worker} has another {name} than the chief"
                    raise UserError(f"{wrong}; start all with the same")

    def compare_code(self) -> None:
        """All processes together: UserError unless all run the same source of this package."""
        sources = sorted(HERE.rglob("*.py"))
        code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        self.compare({"code": code})

    def take_chiefs(self, variables: list) -> None:
        """All processes together: gives `variables` the chief's values everywhere."""
        for variable in unwrap_variables(variables) if self.count > 1 else ():
            value = tf.convert_to_tensor(variable)
            variable.assign(self.add_up(value if self.chief else tf.zeros_like(value)))

    def meet(self) -> None:
        """All processes together: waits until every one is here."""
        if self.count > 1:
            self.add_up(tf.constant([1.0]))

    def add_up(self, value: tf.Tensor) -> tf.Tensor:
        """The sum of a tensor over the processes."""

        def one_replicas():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.where(replica % self.own_replicas == 0, value, tf.zeros_like(value))

        return self.strategy.reduce("SUM", self.strategy.run(one_replicas), axis=None)

    def compile(self, train_step: Callable) -> Callable:
        """Makes `train_step` one function of this process's batch and its wishes.

        Args:
          train_step: takes a batch, returns scalars by name: means over the batch.

        Returns:
          A function of a batch, a pair of (batch_size / count, …) tensors, and of what this
          process wishes, an `Agreement`. It begins the step, and returns a function that waits
          for it and returns the scalars of the whole batch, a dict of floats, and what all
          processes wish, added up.
        """
        names: list[str] = []

        def replica(batch, wishes):
            scalars = train_step(batch)
            names[:] = scalars
            values = [tf.cast(value, tf.float64) for value in scalars.values()]
            return tf.concat([tf.stack(values), wishes * self.count], 0)

        @tf.function(autograph=False)  # no step branches on tensors: begins in half the time
        def step(batch, wishes):
            return self.strategy.reduce(
                "MEAN", self.strategy.run(replica, args=(batch, wishes)), axis=None
            )

        def run(batch, wishes):
            vector = step(self._split(batch), tf.constant(wishes, tf.float64))

            def read():
                values = vector.numpy()
                scalars = dict(zip(names, values.tolist()))
                return scalars, Agreement(*values[len(names) :])

            return read

        return run

    def _split(self, batch):
        """This process's part of a batch, an equal part of it to each of its replicas."""
        if self.own_replicas == 1:
            return batch
        return tuple(self._hand_out(tf.split(tensor, self.own_replicas)) for tensor in batch)

    def _hand_out(self, parts):
        """A value of which each of this process's replicas has its own part."""
        first = self.index * self.own_replicas
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group - first]
        )

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Says in one line that another process has ended, as this one then must."""
        try:
            yield
        except ENDED as error:
            if self.count == 1:
                raise
            raise UserError(
                f"worker {self.index}: another worker has ended, see what it says; start all "
                "again to go on from the last checkpoint"
            ) from error


def _open(name, addresses, index):
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy("GPU:0" if devices.list_gpus() else "CPU:0")
    if name == "mirrored":
        kind = "GPU" if devices.list_gpus() else "CPU"
        return tf.distribute.MirroredStrategy(
            [device.name for device in tf.config.list_logical_devices(kind)]
        )
    others = f"{len(addresses)} workers; this is number {index}, {addresses[index]}"
    waiting = threading.Timer(WAIT_MINUTES * 60, _give_up, [addresses, os.dup(2)])
    waiting.daemon = True
    waiting.start()
    try:
        with end_by_signals():
            print(f"{others}, and waits for all, {WAIT_MINUTES} minutes at most", flush=True)
            with quiet():
                return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        if "start gRPC server" in reason:
            reason = "its port is in use, or is not this machine's"
        raise UserError(f"TF_CONFIG: {addresses[index]}: {reason}") from error
    finally:
        waiting.cancel()


def _give_up(addresses, standard_error):
    """Ends a process that waits inside TensorFlow, where no exception reaches it."""
    missing = f"not all of {', '.join(addresses)} came in {WAIT_MINUTES} minutes"
    os.write(standard_error, f"error: TF_CONFIG: {missing}; start all of them\n".encode())
    os._exit(1)


def _read_tf_config():
    """The workers' addresses, the chief's first, and the number of this one; [] and 0 if unset."""
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return [], 0
    example = '{"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        kind, index = task["type"], int(task["index"])
        ordered = [(k, i, a) for k in ("chief", "worker") for i, a in enumerate(cluster.get(k, ()))]
        mine = [(k, i) for k, i, _ in ordered].index((kind, index))
        addresses = [address for *_, address in ordered]
        for address in addresses:
            if not 0 < int(address.rpartition(":")[2]) < 65536:
                raise ValueError(f"{address} has no port")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"TF_CONFIG is malformed ({error!r}); it is like {example}") from error
    return addresses, mine
