"""Blurred pictures in, restored pictures out, whatever the network is kept in and runs on."""

import hashlib
import json
import pathlib

import numpy as np
import tensorflow as tf

from tf_deblur import devices, errors, images, weights
from tf_deblur.errors import UserError

FACTS = ("size_multiple", "radius", "channels")


class Restorer:
    """Blurred images in, sharp images out; a backend supplies `run` and its facts, nothing more.

    Attributes:
      name: what the user called it.
      size_multiple: what heights and widths given to `run` are multiples of, in pixels.
      radius: how far a restored pixel sees, in pixels to each side.
      channels: of a picture.
      precision: "float32" or "bfloat16"; `why` says in words why that one.
      device: where it runs, in words.
    """

    def __init__(self, name, facts, precision="float32", why="its only one"):
        self.name = str(name)
        self.size_multiple, self.radius, self.channels = (facts[fact] for fact in FACTS)
        self.precision, self.why = precision, why
        self.device = devices.device_name()

    def run(self, batch):
        """(n, h, w, c) float32 in [0, 1], sides multiples of `size_multiple` -> the same."""
        raise NotImplementedError

    def __call__(self, image):
        """Restores one picture of any height and width.

        Args:
          image: (height, width, 3) uint8, uint16, or floats in [0, 1].

        Returns:
          The restored picture, of the same shape and type.

        Raises:
          ValueError: another shape or type.
        """
        if image.ndim != 3 or image.shape[-1] != self.channels or not image.size:
            raise ValueError(f"shape {image.shape}; use (height, width, {self.channels})")
        height, width = image.shape[:2]
        batch = self.pad(images.to_float(image))[None]
        restored = self.run(batch)[0, :height, :width]
        return images.from_float(np.clip(restored, 0, 1), image.dtype)

    def pad(self, image):
        """Mirrors a picture at its lower and right border up to the size multiple."""
        more = [(0, -side % self.size_multiple) for side in image.shape[:2]]
        return np.pad(image, [*more, (0, 0)], mode="reflect")

    def __str__(self):
        return f"{self.name} on {self.device} in {self.precision} ({self.why})"


class KerasRestorer(Restorer):
    """Weights of ours: a preset, a training's working directory, a `.safetensors` file."""

    def __init__(self, name, precision):
        from tf_deblur import networks

        precision, why = devices.choose_precision(precision)
        # On a processor bfloat16 is an option of the graph (see `run`), on a GPU of the layers.
        with devices.layers_in(precision if devices.gpus() else "float32"):
            model = weights.load(name)
        facts = (networks.size_multiple(model), networks.receptive_radius(model), 3)
        super().__init__(name, dict(zip(FACTS, facts)), precision, why)
        batch = tf.TensorSpec([None, None, None, self.channels], tf.float32)
        function = tf.function(lambda x: model(x, training=False), input_signature=[batch])
        self._keras, self._model = model, function.get_concrete_function()

    def run(self, batch):
        with devices.bfloat16_graphs(self.precision == "bfloat16"):
            return self._model(tf.constant(batch)).numpy()


class SavedModelRestorer(Restorer):
    """A SavedModel of `tf-deblur export`, or the folder of its versions: the newest runs."""

    def __init__(self, name, precision):
        folder = saved_model_folder(name)
        facts = _read_facts(folder / "assets.extra/model.json")
        if devices.gpus():  # its layers are made already
            super().__init__(name, facts)
        else:
            super().__init__(name, facts, *devices.choose_precision(precision))
        try:
            with errors.quiet():
                self._loaded = tf.saved_model.load(str(folder))
            self._float32 = self._loaded.signatures["float32"]
        except (OSError, LookupError, ValueError, tf.errors.OpError) as error:
            raise _damaged(folder, error) from error

    def run(self, batch):
        with devices.bfloat16_graphs(self.precision == "bfloat16"):
            return self._float32(image=tf.constant(batch))["restored"].numpy()


class TFLiteRestorer(Restorer):
    """A `.tflite` file of `tf-deblur export`, with its JSON beside it; float32 arithmetic."""

    def __init__(self, name, precision):
        path = pathlib.Path(name)
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        facts = _read_facts(path.with_suffix(".json"))
        if hashlib.sha256(path.read_bytes()).hexdigest() != facts.get("file_sha256"):
            # the interpreter checks nothing: what is cut short ends the process
            raise _damaged(path, "another file than its .json tells of")
        super().__init__(name, facts)
        self.device = f"{devices.cores()} processor cores, TensorFlow Lite"
        try:
            with errors.quiet():
                interpreter = _interpreter()(str(path), num_threads=devices.cores())
                self._float32 = interpreter.get_signature_runner("float32")
        except (ValueError, RuntimeError) as error:
            raise _damaged(path, error) from error

    def run(self, batch):
        with errors.quiet():  # it says when it makes its delegate
            return self._float32(image=batch)["restored"]


BACKENDS = {"keras": KerasRestorer, "saved_model": SavedModelRestorer, "tflite": TFLiteRestorer}


def load(name, precision="auto"):
    """Opens a trained network for restoring.

    Args:
      name: a preset with weights ("compact"), a working directory, a `.safetensors` file,
        a SavedModel's folder or a `.tflite` file.
      precision: "auto", "float32" or "bfloat16"; a `.tflite` file has only its own.

    Returns:
      A `Restorer`.

    Raises:
      UserError: `name` is none of these, or damaged.
    """
    if precision not in devices.PRECISIONS:
        raise UserError(f"{precision}: no such precision; use {', '.join(devices.PRECISIONS)}")
    return BACKENDS[_backend(name)](name, precision)


def _backend(name):
    if pathlib.Path(name).suffix == ".tflite":
        return "tflite"
    return "saved_model" if saved_model_folder(name) else "keras"


def saved_model_folder(name):
    """The SavedModel that a folder is, or its newest version; None if it is no such thing."""
    versions = [path for path in pathlib.Path(name).glob("[0-9]*") if path.name.isdecimal()]
    newest_first = sorted(versions, key=lambda path: int(path.name), reverse=True)
    candidates = [pathlib.Path(name), *newest_first]
    return next((path for path in candidates if (path / "saved_model.pb").exists()), None)


def _read_facts(path):
    try:
        facts = json.loads(path.read_text())
        return facts | {fact: int(facts[fact]) for fact in FACTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: missing or damaged; it says what the network needs, so keep the files "
            "that `tf-deblur export` writes together"
        ) from error


def _damaged(path, error):
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return UserError(f"{path}: damaged, or not made by `tf-deblur export` ({reason[0]})")


def _interpreter():
    try:
        from ai_edge_litert.interpreter import Interpreter  # tf.lite's successor, and faster
    except ImportError:
        return tf.lite.Interpreter
    return Interpreter
