"""Motion deblurring with a generative adversarial network (Sang, Gao and Yin 2018)."""

import os
import typing

if typing.TYPE_CHECKING:
    from tf_deblur.restoring.restorer import Restorer

__version__ = "0.1.0"


def load(
    name: str | os.PathLike,
    precision: typing.Literal["auto", "float32", "bfloat16"] = "auto",
    memory_gb: float | None = None,
    backend: typing.Literal["auto", "tensorflow", "openvino"] = "auto",
    threads: int | None = None,
    model_facts: str | dict | None = None,
) -> "Restorer":
    """Opens a trained network for restoring photographs.

    Args:
      name: a preset with weights ("compact"), a training's working directory, a `.safetensors`
        file, a SavedModel's folder, a `.tflite` file, what others trained (those two, `.onnx`,
        `.keras`, a graph model of TensorFlow.js), or http://HOST:PORT/v1/models/NAME of
        TensorFlow Serving.
      precision: "auto", "float32", "bfloat16" or, for the first three on OpenVINO, "int8"; a
        `.tflite` file has only its own.
      memory_gb: what running may take; half of what is free if not given, and of that at most
        0.43 where a `.tflite` file runs.
      backend: "auto", "tensorflow" or "openvino", for the first three; "auto" is OpenVINO
        where that is installed and no GPU is there, which it would not use.
      threads: of a `.tflite` file; one for each processor core if not given.
      model_facts: what another's file does not say, such as {"range": [0, 1]}: a dict, JSON, or
        the name of a file of JSON; docs/reference/networks.md lists the keys.

    Returns:
      A `tf_deblur.restoring.restorer.Restorer`: call it with a (height, width, 3) array of red,
      green and blue, uint8, uint16 or floats in [0, 1], for one of the same shape and type.

    Raises:
      UserError: `name` is none of these, or damaged, or what runs it is not installed.
    """
    from tf_deblur.restoring import loading  # what it imports loads here, not with the package

    return loading.load(name, precision, memory_gb, backend, threads, model_facts)
