"""Which engine a network runs on is told by what it is kept in, and by what is installed."""

import contextlib
import importlib
import importlib.util
import pathlib

from tf_deblur import devices
from tf_deblur.errors import UserError
from tf_deblur.restoring import restorer

# Module and class of each; imported when it is asked for, as not all are needed everywhere.
BACKENDS = {
    "tensorflow": ("tensorflow_backend", "TensorFlowRestorer"),
    "openvino": ("openvino_backend", "OpenVINORestorer"),
    "saved_model": ("saved_model_backend", "SavedModelRestorer"),
    "tflite": ("tflite_backend", "TFLiteRestorer"),
    "serving": ("serving_backend", "ServingRestorer"),
}
CHOICES = ("auto", "tensorflow", "openvino")  # for weights of our own
WITHOUT_TENSORFLOW = ("openvino", "tflite")


def load(name, precision="auto", memory_gb=None, backend="auto", threads=None):
    """Opens a trained network for restoring.

    Args:
      name: a preset with weights ("compact"), a working directory, a `.safetensors` file,
        a SavedModel's folder, a `.tflite` file, or http://HOST:PORT/v1/models/NAME of
        TensorFlow Serving.
      precision: "auto", "float32" or "bfloat16"; a `.tflite` file has only its own.
      memory_gb: what running may take; half of what is free if not given, and of that at most
        0.43 where a `.tflite` file runs.
      backend: "auto", "tensorflow" or "openvino", for the first three; "auto" is OpenVINO
        where that is installed and no GPU is there, which it would not use.
      threads: of a `.tflite` file; one for each processor core if not given.

    Returns:
      A `Restorer`.

    Raises:
      UserError: `name` is none of these, or damaged, or what runs it is not installed.
    """
    if precision not in devices.PRECISIONS:
        raise UserError(f"{precision}: no such precision; use {', '.join(devices.PRECISIONS)}")
    backend = choose(name, backend)
    module, maker = BACKENDS[backend]
    with _told_what_lacks(name):
        make = getattr(importlib.import_module(f"tf_deblur.restoring.{module}"), maker)
    if threads and backend != "tflite":
        raise UserError(f"{name}: the number of threads is for .tflite files")
    restore = make(name, precision, **({"threads": threads} if threads else {}))
    if memory_gb is not None:
        restore.memory = memory_gb * restorer.GIGABYTE
    return restore


def choose(name, backend="auto"):
    """Which of BACKENDS `name` is for; arguments and errors as of `load`."""
    if backend not in CHOICES:
        raise UserError(f"{backend}: no such backend; use {', '.join(CHOICES)}")
    if own := _own_engine(name):
        if backend != "auto":
            raise UserError(f"{name}: has an engine of its own; leave off --backend={backend}")
        return own
    there = importlib.util.find_spec("openvino") is not None
    if backend == "openvino" and not there:
        raise UserError("--backend=openvino: is not there; pip install 'tf-deblur[openvino]'")
    if backend == "auto":
        return "openvino" if there and not devices.has_gpu() else "tensorflow"
    return backend


def _own_engine(name):
    """The backend of what only one can run; None of our own weights."""
    if str(name).startswith(("http://", "https://")):
        return "serving"
    if pathlib.Path(name).suffix == ".tflite":
        return "tflite"
    with _told_what_lacks(name):
        from tf_deblur.models import weights

    return "saved_model" if weights.find_saved_model(name) else None


@contextlib.contextmanager
def _told_what_lacks(name):
    """Devices that run `.tflite` files alone lack what other backends import."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{name}: wants {error.name}, which is not installed; .tflite files do without it"
        ) from error
