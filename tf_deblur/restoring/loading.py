"""Which engine a network runs on is told by what it is kept in."""

import importlib
import pathlib

from tf_deblur import devices
from tf_deblur.errors import UserError
from tf_deblur.restoring import restorer

# Module and class of each; imported when it is asked for, as not all are needed everywhere.
BACKENDS = {
    "keras": ("keras_backend", "KerasRestorer"),
    "saved_model": ("saved_model_backend", "SavedModelRestorer"),
    "tflite": ("tflite_backend", "TFLiteRestorer"),
    "serving": ("serving_backend", "ServingRestorer"),
}


def load(name, precision="auto", memory_gb=None, threads=None):
    """Opens a trained network for restoring.

    Args:
      name: a preset with weights ("compact"), a working directory, a `.safetensors` file,
        a SavedModel's folder, a `.tflite` file, or http://HOST:PORT/v1/models/NAME of
        TensorFlow Serving.
      precision: "auto", "float32" or "bfloat16"; a `.tflite` file has only its own.
      memory_gb: what running may take; half of what is free if not given, and of that at most
        0.43 where a `.tflite` file runs.
      threads: of a `.tflite` file; one for each processor core if not given.

    Returns:
      A `Restorer`.

    Raises:
      UserError: `name` is none of these, or damaged, or what runs it is not installed.
    """
    if precision not in devices.PRECISIONS:
        raise UserError(f"{precision}: no such precision; use {', '.join(devices.PRECISIONS)}")
    try:
        backend = kind(name)
        module, maker = BACKENDS[backend]
        make = getattr(importlib.import_module(f"tf_deblur.restoring.{module}"), maker)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{name}: wants {error.name}, which is not installed; .tflite files do without it"
        ) from error
    if threads and backend != "tflite":
        raise UserError(f"{name}: the number of threads is for .tflite files")
    restore = make(name, precision, **({"threads": threads} if threads else {}))
    if memory_gb is not None:
        restore.memory = memory_gb * restorer.GIGABYTE
    return restore


def kind(name):
    """The backend that `name` is for: one of BACKENDS."""
    if str(name).startswith(("http://", "https://")):
        return "serving"
    if pathlib.Path(name).suffix == ".tflite":
        return "tflite"
    from tf_deblur.models import weights  # a device that runs .tflite files lacks what it reads by

    if weights.is_preset(name) or not restorer.find_saved_model(name):
        return "keras"
    return "saved_model"
