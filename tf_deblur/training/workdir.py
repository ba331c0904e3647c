"""A training's folder: what it is, its checkpoints, its scalars and pictures.

flags.flags              the flags as run, a flag file again
run.json                 the networks' architecture; another one is refused
checkpoints/             networks, optimisers, step, seconds, best score: the last few
best/                    the same, where validation scored best
generator.safetensors    the moving average of the generator's weights, the latest
best.safetensors         the same, where validation scored best
logs/, pictures/         TensorBoard scalars, before and after on a validation frame
lock                     held by the process that trains here, for as long as it lives
"""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil

import numpy as np
import tensorflow as tf

from tf_deblur.errors import UserError
from tf_deblur.files import whole
from tf_deblur.models import weights
from tf_deblur.pictures import photographs

# What TensorFlow raises of a checkpoint that is cut short, by where it is cut.
UNREADABLE = (tf.errors.OpError, IndexError, RuntimeError, ValueError)


class Workdir:
    """Opens a new or an earlier training. Nothing is written before `begin`.

    Args:
      path: the folder; it need not be there.
      architecture: dict that says which networks; a resumed training must have the same.
      chief: whether this process reads and writes the folder. If not, it only counts steps.

    Attributes:
      step, seconds: training steps done, and seconds spent in them, those of earlier sittings
        included. Whoever trains counts them here: to read a variable would wait for the device.

    Raises:
      UserError: the folder belongs to another architecture, or to something else.
    """

    def __init__(self, path, architecture, chief=True):
        self.path, self.architecture, self.chief = pathlib.Path(path), architecture, chief
        self._lock, self._damaged = None, []
        if chief:
            self._check()
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        self._best = tf.Variable(-np.inf, dtype=tf.float64)

    def _check(self):
        told = self.path / "run.json"
        if not told.exists():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise UserError(f"{self.path}: a folder of something else; name a new --workdir")
            return
        try:
            before = json.loads(told.read_text())
        except (OSError, ValueError) as error:
            raise UserError(
                f"{told}: cannot be read ({error}); name a new --workdir and "
                f"--init_from={self.path}"
            ) from error
        odd = [key for key, value in self.architecture.items() if before.get(key) != value]
        if odd:
            raise UserError(
                f"{self.path}: was made with {odd[0]} {before.get(odd[0])}, not "
                f"{self.architecture[odd[0]]}; use the same, or another --workdir"
            )

    def lock(self):
        """Keeps others out of a folder that is there, until this process ends, however it does.

        Raises:
          UserError: another process trains there.
        """
        if self._lock or not self.chief or not self.path.is_dir():
            return
        self._lock = open(self.path / "lock", "a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{self.path}: another process trains here; wait for it, or name another --workdir"
            ) from None

    def begin(self, flag_text):
        """After `restore`: writes what the training is and the flags as run.

        Raises:
          UserError: the folder cannot be written, or another process began to train there.
        """
        texts = {"run.json": json.dumps(self.architecture, indent=1), "flags.flags": flag_text}
        try:
            if not self._lock:
                self.path.mkdir(parents=True, exist_ok=True)
                self.lock()
            for name, text in texts.items():
                with whole(self.path / name) as part:
                    part.write_text(text)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror})") from error
        for name in self._damaged:  # kept, under a name that no checkpoint has
            for file in pathlib.Path(name).parent.glob(f"{pathlib.Path(name).name}.*"):
                file.rename(file.with_name(f"damaged-{file.name}"))
        self.writer = tf.summary.create_file_writer(str(self.path / "logs"))
        with self.writer.as_default(step=self.step):
            _summarise("flags", tf.constant(_as_markdown(flag_text)), "text", data_class=2)
        self.last = self._manager("checkpoints", keep=3)
        self.best_manager = self._manager("best", keep=1)

    def _manager(self, name, keep):
        folder = self.path / name
        there = [name for name in _checkpoints(folder) if name not in self._damaged]
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
        return tf.train.CheckpointManager(self.checkpoint, str(folder), max_to_keep=keep)

    def restore(self, gan, optimizers):
        """Ties `gan` and its optimisers to this training; goes on from the last checkpoint.

        Args:
          gan: the `DeblurGAN`.
          optimizers: dict of optimisers by name, all built.

        Returns:
          Whether there was a checkpoint. A damaged one is passed over, and said.

        Raises:
          UserError: every checkpoint is damaged.
        """
        self.gan, self._optimizers = gan, optimizers
        networks = {"generator": gan.generator, "critic": gan.critic, "average": gan.average}
        self.checkpoint = tf.train.Checkpoint(
            step=gan.step,
            seconds=self._seconds,
            best=self._best,
            **({"loss_scale": gan.loss_scale} if gan.scaled else {}),
            **networks,
            **optimizers,
        )
        there = _checkpoints(self.path / "checkpoints") if self.chief else []
        for name in reversed(there):
            try:
                self.checkpoint.restore(name).assert_existing_objects_matched()
            except (*UNREADABLE, AssertionError) as error:
                self._damaged.append(name)
                why = str(error).splitlines()[0][:80]
                print(f"{name}: damaged ({why}); the one before is used", flush=True)
            else:
                break
        else:
            if there:
                raise UserError(f"{self.path}: every checkpoint is damaged; name a new --workdir")
        self._count()
        return bool(there)

    def share(self, team):
        """All processes together: what the chief has restored, or begun with, everywhere."""
        networks = self.gan.generator, self.gan.critic, self.gan.average
        owners = [*networks, *self._optimizers.values()]
        counts = [self.gan.step, self._seconds, self.gan.loss_scale]
        team.take_chiefs(counts + [v for owner in owners for v in owner.variables])
        self._count()

    def _count(self):
        self.step, self.seconds = int(self.gan.step.numpy()), float(self._seconds)

    @property
    def latest(self):
        """The last checkpoint, as TensorFlow names it; None before the first."""
        there = _checkpoints(self.path / "checkpoints")
        return next((name for name in reversed(there) if name not in self._damaged), None)

    @property
    def weights(self):
        """The file to restore with."""
        return self.path / weights.IN_WORKDIR

    @property
    def best(self):
        """Best validation PSNR so far, in dB; minus infinity before the first."""
        return float(self._best)

    def save(self, **notes):
        """Writes a checkpoint and the weights to restore with."""
        with self._written():
            self.last.save(self.step)
            self.writer.flush()
            weights.save(self.weights, self.gan.average, **notes)

    def save_best(self, score, **notes):
        """Keeps a checkpoint and the weights of the best validation PSNR, in dB, so far."""
        self._best.assign(score)  # into the variable: a resumed run remembers it
        with self._written():
            self.best_manager.save(self.step)
            weights.save(self.path / "best.safetensors", self.gan.average, **notes)

    @contextlib.contextmanager
    def _written(self):
        self._seconds.assign(self.seconds)
        try:
            yield
        except (OSError, tf.errors.OpError) as error:  # a full disk, most often
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise UserError(f"{self.path}: cannot be written ({reason})") from error

    def log(self, scalars):
        """TensorBoard scalars at the present step."""
        with self.writer.as_default(step=self.step):
            for name, value in scalars.items():
                _summarise(name, tf.constant(value, tf.float32), "scalars", data_class=1)

    def log_picture(self, sheet):
        """Blurred, restored and sharp side by side: (h, w, 3) uint8."""
        photographs.write(self.path / "pictures" / f"step_{self.step:07d}.png", sheet)
        with self.writer.as_default(step=self.step):
            size = [str(length) for length in sheet.shape[1::-1]]
            picture = tf.stack([*size, tf.io.encode_png(sheet)])
            _summarise("blurred, restored, sharp", picture, "images", data_class=3)
        self.writer.flush()


def _checkpoints(folder):
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


def _as_markdown(flag_text):
    return "".join(f"    {line}\n" for line in flag_text.splitlines())


def _summarise(name, tensor, plugin, data_class):
    """What `tf.summary.scalar` and `image` write, which want TensorBoard installed to write it."""
    metadata = tf.compat.v1.SummaryMetadata(data_class=data_class)
    metadata.plugin_data.plugin_name = plugin
    tf.summary.write(name, tensor, metadata=metadata)
