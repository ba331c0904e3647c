"""Motion deblurring with a generative adversarial network (Sang, Gao and Yin 2018)."""

import os
import typing

if typing.TYPE_CHECKING:
    from tf_deblur.restoring.restorer import Restorer

__version__ = "0.1.0"


def load(
    name: str | os.PathLike,
    precision: str = "auto",
    memory_gb: float | None = None,
    backend: str = "auto",
    threads: int | None = None,
) -> "Restorer":
    """Opens a trained network for restoring photographs.

    Args:
      name: a preset ("compact"), a training's working directory, a
        `.safetensors` file, a SavedModel's folder or a `.tflite` file.
      precision, memory_gb, backend, threads: as `tf_deblur.restoring.loading.load` has them.

    Returns:
      A `tf_deblur.restoring.restorer.Restorer`: call it with an (H, W, 3) image.

    Raises:
      UserError: `name` is none of these, or cannot be read.
    """
    from tf_deblur.restoring import loading  # TensorFlow loads here, not with the package

    return loading.load(name, precision, memory_gb, backend, threads)
