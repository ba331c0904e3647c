"""Which engine a network runs on is told by what it is kept in."""

import pathlib

from tf_deblur import devices
from tf_deblur.errors import UserError
from tf_deblur.models import weights
from tf_deblur.restoring import (
    keras_backend,
    restorer,
    saved_model_backend,
    serving_backend,
    tflite_backend,
)

BACKENDS = {
    "keras": keras_backend.KerasRestorer,
    "saved_model": saved_model_backend.SavedModelRestorer,
    "tflite": tflite_backend.TFLiteRestorer,
    "serving": serving_backend.ServingRestorer,
}


def load(name, precision="auto", memory_gb=None):
    """Opens a trained network for restoring.

    Args:
      name: a preset with weights ("compact"), a working directory, a `.safetensors` file,
        a SavedModel's folder, a `.tflite` file, or http://HOST:PORT/v1/models/NAME of
        TensorFlow Serving.
      precision: "auto", "float32" or "bfloat16"; a `.tflite` file has only its own.
      memory_gb: what running may take; half of what is free if not given.

    Returns:
      A `Restorer`.

    Raises:
      UserError: `name` is none of these, or damaged.
    """
    if precision not in devices.PRECISIONS:
        raise UserError(f"{precision}: no such precision; use {', '.join(devices.PRECISIONS)}")
    restore = BACKENDS[_backend(name)](name, precision)
    if memory_gb is not None:
        restore.memory = memory_gb * restorer.GIGABYTE
    return restore


def _backend(name):
    if str(name).startswith(("http://", "https://")):
        return "serving"
    if weights.is_preset(name):
        return "keras"
    if pathlib.Path(name).suffix == ".tflite":
        return "tflite"
    return "saved_model" if weights.find_saved_model(name) else "keras"
