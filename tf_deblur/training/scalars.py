"""What a training logs: scalars and flags for TensorBoard, pictures for it and as files."""

import pathlib

import numpy as np
import tensorflow as tf

from tf_deblur.errors import explain_unwritable
from tf_deblur.pictures import photographs
from tf_deblur.training.schedule import Progress


class Scalars:
    """Opens logs/ in a training's folder, and logs the flags.

    Args:
      path: the training's folder.
      progress: whatever is logged belongs to its present step.
      flag_text: the flags, one a line.
    """

    def __init__(self, path: pathlib.Path, progress: Progress, flag_text: str):
        self.path, self.progress = path, progress
        self._writer = tf.summary.create_file_writer(str(self.path / "logs"))
        as_markdown = "".join(f"    {line}\n" for line in flag_text.splitlines())
        self._summarise("flags", tf.constant(as_markdown), "text", data_class=2)

    def log(self, scalars: dict[str, float]) -> None:
        for name, value in scalars.items():
            self._summarise(name, tf.constant(value, tf.float32), "scalars", data_class=1)

    def log_picture(self, sheet: np.ndarray) -> None:
        """Blurred, restored and sharp side by side: (h, w, 3) uint8."""
        name = f"step_{self.progress.step:07d}.png"
        photographs.write(self.path / "pictures" / name, sheet)
        size = [str(length) for length in sheet.shape[1::-1]]
        picture = tf.stack([*size, tf.io.encode_png(sheet)])
        self._summarise("blurred, restored, sharp", picture, "images", data_class=3)
        self._writer.flush()

    def flush(self) -> None:
        """Writes what waits to be; UserError where that fails."""
        with explain_unwritable(self.path, tf.errors.OpError):
            self._writer.flush()

    def _summarise(self, name, tensor, plugin, data_class):
        """What `tf.summary.scalar` and `image` write, which want TensorBoard installed for it."""
        metadata = tf.compat.v1.SummaryMetadata(data_class=data_class)
        metadata.plugin_data.plugin_name = plugin
        with self._writer.as_default(step=self.progress.step):
            tf.summary.write(name, tensor, metadata=metadata)
