"""A training's state, written so that a kill, a full disk or a damaged file costs little of it."""

import math
import os
import pathlib
import shutil

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from tf_deblur.errors import UserError, explain_unwritable
from tf_deblur.models import weights
from tf_deblur.models.gan import DeblurGAN
from tf_deblur.training.schedule import Optimizers, Progress
from tf_deblur.training.team import Team

# What TensorFlow raises of a checkpoint that is cut short, by where it is cut.
UNREADABLE = (tf.errors.OpError, IndexError, RuntimeError, ValueError)
BEST = "best.safetensors"


class Checkpoints:
    """The checkpoints in a training's folder, and the weights beside them.

    Args:
      path: the training's folder.
      optimizers: all that the run will use, by kind.

    Attributes:
      progress: `restore` sets it, `save` writes it.
      best: the best validation PSNR so far, in dB; minus infinity before the first.
    """

    def __init__(self, path: str, gan: DeblurGAN, optimizers: dict[str, Optimizers]):
        self.path, self.gan, self.progress = pathlib.Path(path), gan, Progress()
        self._damaged: list[str] = []
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        self.best = -math.inf
        # the discriminator has its first name here, so that trainings of any age go on
        owners = {
            "generator": gan.generator,
            "critic": gan.discriminator,
            "average": gan.average,
            **{f"{kind}_generator": both.generator for kind, both in optimizers.items()},
            **{f"{kind}_discriminator": both.discriminator for kind, both in optimizers.items()},
        }
        self._owners = {name: owner for name, owner in owners.items() if owner is not None}
        self._parts = {"step": gan.step, "seconds": self._seconds, **self._owners}
        if gan.loss_scale.active:
            self._parts["loss_scale"] = gan.loss_scale.value
        self._checkpoint = tf.train.Checkpoint(**self._parts)

    def restore(self) -> bool:
        """Goes on from the last checkpoint that is whole; a damaged one is passed over, and said.

        What it does not hold (another precision or loss has none) begins anew, and is said.

        Returns:
          Whether there was one.

        Raises:
          UserError: every checkpoint is damaged, or one is of another version of Keras.
        """
        there = _list_checkpoints(self.path / "checkpoints")
        for name in reversed(there):
            try:
                self._read(name)
            except UNREADABLE as error:
                self._damaged.append(name)
                why = str(error).splitlines()[0][:80]
                print(f"{name}: damaged ({why}); the one before is used", flush=True)
            else:
                break
        else:
            if there:
                raise UserError(f"{self.path}: every checkpoint is damaged; name a new --workdir")
        self._read_progress()
        return bool(there)

    def _read(self, name):
        # the names of the variables do not tell it: one of G's may stand by its optimiser's
        told = tf.train.load_checkpoint(name).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
        root, *_ = trackable_object_graph_pb2.TrackableObjectGraph.FromString(told).nodes
        held = {part.local_name for part in root.children}
        if new := self._parts.keys() - held - {"loss_scale"}:
            lacking = " or ".join(sorted(new)).replace("critic", "discriminator")
            print(f"{name}: has no {lacking}, begun anew", flush=True)
        parts = {key: part for key, part in self._parts.items() if key in held}
        try:
            tf.train.Checkpoint(**parts).restore(name).assert_existing_objects_matched()
        except (AssertionError, ValueError) as error:  # whole, and its parts are made otherwise
            if isinstance(error, ValueError) and "shape" not in str(error):
                raise
            raise UserError(
                f"{name}: written by another version of Keras, whose optimisers do not fit; go on "
                f"with that one, or name a new --workdir and --init_from={self.path}"
            ) from error

    def share(self, team: Team) -> None:
        """All processes together: what the chief has restored, or begun with, everywhere."""
        counts = [self.gan.step, self._seconds, self.gan.loss_scale.value]
        team.take_chiefs(counts + [v for owner in self._owners.values() for v in owner.variables])
        self._read_progress()
        if self.progress.step:
            print(f"{self.path}: going on from step {self.progress.step}", flush=True)

    def _read_progress(self):
        step, seconds = int(self.gan.step.numpy()), float(self._seconds)
        self.progress.step, self.progress.seconds = step, seconds

    def begin(self) -> None:
        """After `restore`, before the first `save`: puts aside what is damaged."""
        for name in self._damaged:  # kept, under a name that no checkpoint has
            for file in pathlib.Path(name).parent.glob(f"{pathlib.Path(name).name}.*"):
                file.rename(file.with_name(f"damaged-{file.name}"))
        self._last, self._of_best = self._manage("checkpoints", 3), self._manage("best", 1)

    def _manage(self, name, most):
        folder = self.path / name
        there = [name for name in _list_checkpoints(folder) if name not in self._damaged]
        for file in folder.glob("ckpt-*"):  # what a kill, or a full disk, cut short
            if str(file.with_suffix("")) not in there:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        if there:  # TensorFlow's list of them may be lost or cut short
            tf.compat.v1.train.update_checkpoint_state(
                str(folder),
                there[-1],
                there,
                all_model_checkpoint_timestamps=[os.path.getmtime(f"{c}.index") for c in there],
                last_preserved_timestamp=0.0,  # later ones may be removed in their turn
            )
        return tf.train.CheckpointManager(self._checkpoint, str(folder), max_to_keep=most)

    @property
    def latest(self) -> str | None:
        """The last checkpoint, as TensorFlow names it; None before the first."""
        there = _list_checkpoints(self.path / "checkpoints")
        return next((name for name in reversed(there) if name not in self._damaged), None)

    @property
    def weights(self) -> pathlib.Path:
        """The file to restore with."""
        return self.path / weights.IN_WORKDIR

    def describe(self) -> str:
        return f"after {self.progress.step} steps; its weights are {self.weights}"

    def read_best(self, validated_on: str) -> bool:
        """Sets the best score to that of `BEST`; whether it is of these pairs, if there is one."""
        if not (file := self.path / BEST).exists():
            return True
        notes = weights.describe(file)
        same = notes.get("validated_on") == validated_on
        if same:
            self.best = float(notes["validation"].split()[0])
        return same

    def save(self, **notes: str) -> None:
        """Writes a checkpoint and the weights to restore with."""
        self._write(self._last, self.weights, notes)

    def save_best(self, score: float, **notes: str) -> None:
        """Keeps a checkpoint and the weights of the best validation PSNR, in dB, so far."""
        self.best = score
        self._write(self._of_best, self.path / BEST, {"validation": f"{score!r} dB", **notes})

    def _write(self, manager, file, notes):
        self._seconds.assign(self.progress.seconds)
        with explain_unwritable(self.path, tf.errors.OpError):
            manager.save(self.progress.step)
            weights.save(file, self.gan.average, **notes)


def _list_checkpoints(folder):
    """Names of the checkpoints in a folder, in order.

    TensorFlow lists one when it is whole: what a kill cut short is not listed. Where the
    list itself is lost or damaged, every checkpoint with an index counts.
    """
    there = [path.with_suffix("") for path in folder.glob("ckpt-*.index")]
    there = [str(path) for path in sorted(there, key=lambda path: int(path.name[5:]))]
    try:
        state = tf.train.get_checkpoint_state(str(folder))
    except ValueError:  # an empty list
        state = None
    listed = [name for name in state.all_model_checkpoint_paths if name in there] if state else []
    return listed or there
