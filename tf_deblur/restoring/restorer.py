"""Blurred pictures in, restored pictures out, whatever the network is kept in and runs on."""

import base64
import functools
import hashlib
import json
import math
import pathlib
import sys
import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tf_deblur import devices, errors, memory
from tf_deblur.errors import BadPicture, UserError
from tf_deblur.models import weights
from tf_deblur.pictures import images
from tf_deblur.restoring import rest, tiling

FACTS = ("size_multiple", "radius", "channels", "pixel_bytes")
GIGABYTE = 1e9
LARGEST_TILE = 16_000_000  # pixels; larger ones gain nothing, and are long to wait for


class Restorer:
    """Blurred images in, sharp images out; a backend supplies `run` and its facts, nothing more.

    Attributes:
      name: what the user called it.
      size_multiple: what heights and widths given to `run` are multiples of, in pixels.
      radius: how far a restored pixel sees, in pixels to each side.
      channels: of a picture.
      pixel_bytes: memory that running takes for each pixel of a tile.
      memory: bytes that running may take; tiles are as large as it allows.
      precision: "float32" or "bfloat16"; `why` says in words why that one.
      device: where it runs, in words.
      weights_sha256: of the file of weights that it was made from; None if that is not known.
      say: called with a line for the user, on standard error unless a command sets another.
    """

    def __init__(self, name, facts, precision="float32", why="its only one"):
        self.name = str(name)
        self.weights_sha256 = facts.get("weights_sha256")
        self.size_multiple, self.radius, self.channels, self.pixel_bytes = (
            facts[fact] for fact in FACTS
        )
        self.precision, self.why = precision, why
        self.device = devices.device_name()
        self.memory = memory.free() / 2
        self.say = functools.partial(tqdm.write, file=sys.stderr)

    def run(self, batch):
        """(n, h, w, c) float32 in [0, 1], sides multiples of `size_multiple` -> the same."""
        raise NotImplementedError

    def __call__(self, image, progress=None):
        """Restores one picture of any height and width, tile by tile, exactly.

        Args:
          image: (height, width, 3) uint8, uint16, or floats in [0, 1].
          progress: called with the number of pixels done after each tile, if given; with a
            negative one, which takes back all of them, where a GPU ran out and it begins anew.

        Returns:
          The restored picture, of the same shape and type.

        Raises:
          ValueError: another shape or type.
          UserError: the memory is too little for any tile.
        """
        if image.ndim != 3 or image.shape[-1] != self.channels or not image.size:
            raise ValueError(f"shape {image.shape}; use (height, width, {self.channels})")
        height, width = image.shape[:2]
        padded, done = self.pad(image), 0

        def count(pixels):
            nonlocal done
            done += pixels
            progress(pixels)

        while True:
            tiles = self.tiles(*padded.shape[:2])
            try:
                counting = count if progress else None
                return tiling.apply(self.run_typed, padded, tiles, counting)[:height, :width]
            except tf.errors.ResourceExhaustedError:  # a GPU ran out; a processor never does
                if progress:
                    count(-done)
                self.memory = tiles.largest * self.pixel_bytes / 2
                self.say(f"{self.device}: out of memory; from here on {self.told()}")

    def run_typed(self, tile):
        """`run` on a tile of the picture's own type."""
        blurred = images.to_float(tile)
        restored = self.run(blurred[None])[0]
        # what is no number becomes the farther end of the range, so that a check sees it
        restored = np.where(np.isfinite(restored), restored, blurred < 0.5)
        return images.from_float(np.clip(restored, 0, 1), tile.dtype)

    def tiles(self, height, width):
        """The `tiling.Tiles` in which a picture of this size is restored."""
        try:
            return tiling.plan(
                height + -height % self.size_multiple,
                width + -width % self.size_multiple,
                radius=self.radius,
                multiple=self.size_multiple,
                most_pixels=int(min(self.memory / self.pixel_bytes, LARGEST_TILE)),
            )
        except ValueError as error:
            margin = -(-self.radius // self.size_multiple) * self.size_multiple
            side = 2 * margin + self.size_multiple
            needed = math.ceil(side**2 * self.pixel_bytes / GIGABYTE * 1000) / 1000
            raise UserError(
                f"{self.memory / GIGABYTE:.3f} GB of memory are too few for a tile; "
                f"{self.name} wants at least {needed:.3f}, see --memory_gb"
            ) from error

    def seconds_a_pixel(self, side=256):
        """How long restoring takes, measured on a small tile, once everything is warm."""
        tile = np.zeros((1, side, side, self.channels), np.float32)
        self.run(tile)
        begin = time.monotonic()
        self.run(tile)
        return (time.monotonic() - begin) / side**2

    def pad(self, image):
        """Mirrors a picture at its lower and right border up to the size multiple."""
        more = [(0, -side % self.size_multiple) for side in image.shape[:2]]
        if not any(after for _, after in more):
            return image
        return np.pad(image, [*more, (0, 0)], mode="reflect")

    def __str__(self):
        return f"{self.name} on {self.device} in {self.precision} ({self.why})"

    def told(self):
        """How pictures are cut: radius and largest tile, in words."""
        pixels = min(self.memory / max(self.pixel_bytes, 1), LARGEST_TILE) / 1e6
        return f"radius {self.radius} pixels, tiles of at most {pixels:.1f} megapixels"


class KerasRestorer(Restorer):
    """Weights of ours: a preset, a training's working directory, a `.safetensors` file."""

    def __init__(self, name, precision):
        from tf_deblur.models import networks

        precision, why = devices.choose_precision(precision)
        # On a processor bfloat16 is an option of the graph (see `run`), on a GPU of the layers.
        with devices.layers_in(precision if devices.gpus() else "float32"):
            model = weights.load(name)
        facts = networks.facts(model) | {"weights_sha256": weights.file_hash(name)}
        super().__init__(name, facts, precision, why)
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
                side = self.size_multiple
                self.run(np.zeros((1, side, side, self.channels), np.float32))  # says its delegate
        except (ValueError, RuntimeError) as error:
            raise _damaged(path, error) from error

    def run(self, batch):
        return self._float32(image=batch)["restored"]


class ServingRestorer(Restorer):
    """A model behind TensorFlow Serving's REST interface: http://HOST:PORT/v1/models/NAME.

    It gets whole pictures, 8-bit ones as PNG files, others as numbers in JSON.
    """

    MOST_PIXELS = 4_000_000  # larger ones are refused: the server holds them whole

    def __init__(self, name, precision):
        facts = {"size_multiple": 1, "radius": 0, "channels": 3, "pixel_bytes": 0}
        super().__init__(name, facts, why="the server's own")
        self.url = str(name).rstrip("/")
        self.device = f"TensorFlow Serving at {self.url}"
        states = self._answer(rest.ask(self.url), "model_version_status")
        if not any(version.get("state") == "AVAILABLE" for version in states):
            raise UserError(f"{self.url}: no version of it is available yet")

    def seconds_a_pixel(self, side=256):
        return 0.0  # nothing is sent that nobody asked for

    def tiles(self, height, width):
        if height * width > self.MOST_PIXELS:
            raise BadPicture(
                f"{width}x{height} pixels: a model behind a URL takes at most "
                f"{self.MOST_PIXELS / 1e6:g} megapixels; use the model's files for this one"
            )
        return tiling.Tiles(height, width, (height, width), 0)

    def told(self):
        return f"whole pictures of at most {self.MOST_PIXELS / 1e6:g} megapixels"

    def run_typed(self, tile):
        if tile.dtype != np.uint8:
            return super().run_typed(tile)
        file = base64.b64encode(images.encode(".png", tile)).decode()
        answer = self._predict("serving_default", {"image_bytes": [{"b64": file}]})
        try:
            data = base64.b64decode(answer[0]["b64"])
        except (ValueError, LookupError, TypeError) as error:
            raise self._odd() from error
        return self._sized(images.open_photograph(data, self.url).pixels, tile.shape)

    def run(self, batch):
        answer = self._predict("float32", {"image": batch.tolist()})
        try:
            return self._sized(np.array(answer, np.float32), batch.shape)
        except (ValueError, TypeError) as error:
            raise self._odd() from error

    def _sized(self, result, shape):
        if result.shape != shape:
            raise self._odd()
        return result

    def _odd(self):
        return UserError(f"{self.url}: not the answer of a model that `tf-deblur export` writes")

    def _predict(self, signature, inputs):
        question = {"signature_name": signature, "inputs": inputs}
        return self._answer(rest.ask(f"{self.url}:predict", question), "outputs")

    def _answer(self, data, key):
        try:
            return json.loads(data)[key]
        except (ValueError, LookupError, TypeError) as error:
            raise self._odd() from error


BACKENDS = {
    "keras": KerasRestorer,
    "saved_model": SavedModelRestorer,
    "tflite": TFLiteRestorer,
    "serving": ServingRestorer,
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
    restorer = BACKENDS[_backend(name)](name, precision)
    if memory_gb is not None:
        restorer.memory = memory_gb * GIGABYTE
    return restorer


def _backend(name):
    if str(name).startswith(("http://", "https://")):
        return "serving"
    if weights.is_preset(name):
        return "keras"
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
