"""A training's folder: what it is, its checkpoints, its scalars and pictures.

flags.flags              the flags as run, a flag file again
run.json                 the networks' architecture; another one is refused
checkpoints/             networks, optimisers, step, seconds, best score: the last few
best/                    the same, where validation scored best
generator.safetensors    the moving average of the generator's weights, the latest
best.safetensors         the same, where validation scored best
logs/, pictures/         TensorBoard scalars, before and after on a validation frame
"""

import json
import pathlib

import numpy as np
import tensorflow as tf

from tf_deblur import images, weights
from tf_deblur.errors import UserError
from tf_deblur.files import whole


class Workdir:
    """Opens a new or an earlier training.

    Args:
      path: the folder; made if it is missing.
      architecture: dict that says which networks; a resumed training must have the same.
      flag_text: the flags as run, kept beside.

    Raises:
      UserError: the folder belongs to another architecture, or cannot be written.
    """

    def __init__(self, path, architecture, flag_text):
        self.path = pathlib.Path(path)
        try:
            self._claim(architecture)
            with whole(self.path / "flags.flags") as part:
                part.write_text(flag_text)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from error
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        self._best = tf.Variable(-np.inf, dtype=tf.float64)
        self.writer = tf.summary.create_file_writer(str(self.path / "logs"))

    def _claim(self, architecture):
        told = self.path / "run.json"
        if not told.exists():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise UserError(f"{self.path}: a folder of something else; name a new --workdir")
            with whole(told) as part:
                part.write_text(json.dumps(architecture, indent=1))
        before = json.loads(told.read_text())
        if before != architecture:
            odd = [key for key in architecture if before.get(key) != architecture[key]]
            raise UserError(
                f"{self.path}: was made with {odd[0]} {before.get(odd[0])}, not "
                f"{architecture[odd[0]]}; use the same, or another --workdir"
            )

    def restore(self, gan, optimizers):
        """Ties `gan` and its optimisers to the checkpoints; goes on from the last one, if any.

        Args:
          gan: the `DeblurGAN`.
          optimizers: dict of optimisers by name, all built.

        Returns:
          Whether there was a checkpoint.

        Raises:
          UserError: the last checkpoint is damaged.
        """
        self.gan = gan
        networks = {"generator": gan.generator, "critic": gan.critic, "average": gan.average}
        self.checkpoint = tf.train.Checkpoint(
            step=gan.step, seconds=self._seconds, best=self._best, **networks, **optimizers
        )
        folder = self.path / "checkpoints"
        self.last = tf.train.CheckpointManager(self.checkpoint, str(folder), max_to_keep=3)
        self.best_manager = tf.train.CheckpointManager(
            self.checkpoint, str(self.path / "best"), max_to_keep=1
        )
        there = [c for c in self.last.checkpoints if pathlib.Path(f"{c}.index").exists()]
        if there:
            try:
                self.checkpoint.restore(there[-1]).assert_existing_objects_matched()
            except (tf.errors.OpError, AssertionError, ValueError) as error:
                raise UserError(
                    f"{there[-1]}: damaged ({str(error).splitlines()[0][:80]}); delete "
                    f"{pathlib.Path(there[-1]).name}.* and run again to go on from the one before"
                ) from error
        return bool(there)

    @property
    def weights(self):
        """The file to restore with."""
        return self.path / weights.IN_WORKDIR

    @property
    def step(self):
        """Training steps done."""
        return int(self.gan.step)

    @property
    def seconds(self):
        """Seconds spent in training steps, those of earlier sittings included."""
        return float(self._seconds)

    @property
    def best(self):
        """Best validation PSNR so far, in dB; minus infinity before the first."""
        return float(self._best)

    def add_seconds(self, seconds):
        self._seconds.assign_add(seconds)

    def save(self, **notes):
        """Writes a checkpoint and the weights to restore with."""
        self.last.save(self.step)
        weights.save(self.weights, self.gan.average, **notes)

    def save_best(self, score, **notes):
        """Keeps a checkpoint and the weights of the best validation PSNR, in dB, so far."""
        self._best.assign(score)  # into the variable: a resumed run remembers it
        self.best_manager.save(self.step)
        weights.save(self.path / "best.safetensors", self.gan.average, **notes)

    def log(self, scalars):
        """TensorBoard scalars at the present step."""
        with self.writer.as_default(step=self.step):
            for name, value in scalars.items():
                _summarise(name, tf.constant(value, tf.float32), "scalars", data_class=1)

    def log_picture(self, blurred, restored, sharp):
        """Blurred, restored and sharp side by side: uint8 (h, w, 3) each."""
        strip = np.concatenate([blurred, restored, sharp], axis=1)
        images.write(self.path / "pictures" / f"step_{self.step:07d}.png", strip)
        with self.writer.as_default(step=self.step):
            size = [str(length) for length in strip.shape[1::-1]]
            picture = tf.stack([*size, tf.io.encode_png(strip)])
            _summarise("blurred, restored, sharp", picture, "images", data_class=3)
        self.writer.flush()


def _summarise(name, tensor, plugin, data_class):
    """What `tf.summary.scalar` and `image` write, which want TensorBoard installed to write it."""
    metadata = tf.compat.v1.SummaryMetadata(data_class=data_class)
    metadata.plugin_data.plugin_name = plugin
    tf.summary.write(name, tensor, metadata=metadata)
