"""A .tflite file on LiteRT, or on TensorFlow's own interpreter."""

import hashlib
import pathlib
from importlib import metadata

import numpy as np

from tf_deblur import devices, errors
from tf_deblur.errors import UserError
from tf_deblur.restoring import engine

FACTS = ("name", "sha256", "variant", "signature", "fixed_size", "inputs", "outputs")
# Where such files run, memory is for others too, and 12 megapixels restore in 0.7 GB with all else.
MEMORY = 0.43e9


class TFLiteEngine(engine.Engine):
    """A `.tflite` file of `tf-deblur export`, with its JSON beside it."""

    def __init__(self, name, precision, threads=None):
        path = pathlib.Path(name)
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        facts = engine.read_facts(path.with_suffix(".json"), FACTS)
        if hashlib.sha256(path.read_bytes()).hexdigest() != facts["sha256"]:
            # the interpreter checks nothing: what is cut short ends the process
            engine.refuse(path, "another file than its .json tells of")
        make, runtime = find_interpreter()
        threads = threads or devices.count_cores()
        where = f"{threads} thread{'s' * (threads > 1)} of {runtime}"
        super().__init__(facts, facts["variant"], "its only one", where)
        self.fixed_size = tuple(facts["fixed_size"] or ()) or None
        if not self.fixed_size:
            self.most_memory = MEMORY
        self._image, self._restored = facts["inputs"][0], facts["outputs"][0]
        self.takes_bytes = _is_bytes(self._image) and _is_bytes(self._restored)
        try:
            with errors.quiet():  # it says its delegate
                opened = make(str(path), num_threads=threads)
                if self.fixed_size:
                    opened.allocate_tensors()
                self._runner = _find_runner(opened, facts)
                if not self.fixed_size:
                    self.run(np.zeros((1, *[self.size_multiple] * 2, self.channels), np.float32))
        except (ValueError, RuntimeError) as error:
            engine.refuse(path, error)

    def run(self, batch: np.ndarray) -> np.ndarray:
        restored = [self._run_one(picture[None]) for picture in batch]
        return restored[0] if len(restored) == 1 else np.concatenate(restored)

    def _run_one(self, picture):
        if picture.dtype == np.uint8:
            return self._invoke(picture)
        restored = self._invoke(_quantise(picture, self._image["quantisation"]))
        return _dequantise(restored, self._restored["quantisation"])

    def _invoke(self, given):
        return self._runner(**{self._image["name"]: given})[self._restored["name"]]


def find_interpreter() -> tuple[type, str]:
    """(class, name and version) of the interpreter: LiteRT's where it is installed.

    Raises:
      UserError: neither it nor TensorFlow is.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter  # tf.lite's successor, and faster

        return Interpreter, f"ai-edge-litert {metadata.version('ai-edge-litert')}"
    except ModuleNotFoundError:
        pass
    try:
        with errors.quiet():
            import tensorflow as tf
    except ModuleNotFoundError as error:
        raise UserError(
            "neither ai-edge-litert nor TensorFlow is installed; pip install ai-edge-litert"
        ) from error
    return tf.lite.Interpreter, f"TensorFlow {metadata.version('tensorflow')}"


def _find_runner(opened, facts):
    """The signature that the JSON tells of; ValueError if the file has another."""
    [image], [restored] = facts["inputs"], facts["outputs"]
    names = {"inputs": [image["name"]], "outputs": [restored["name"]]}
    found = opened.get_signature_list()
    if found.get(facts["signature"]) != names:
        raise ValueError(f"its signatures are {found or 'none'}, not {facts['signature']}: {names}")
    runner = opened.get_signature_runner(facts["signature"])
    for end, details in (
        (image, runner.get_input_details()),
        (restored, runner.get_output_details()),
    ):
        shape = details[end["name"]]["shape_signature"].tolist()
        if shape != end["shape"]:
            raise ValueError(f"{end['name']} has shape {shape}, not {end['shape']}")
    return runner


def _is_bytes(end):
    """Whether an 8-bit pixel goes in, or comes out, as it is."""
    by = end["quantisation"]
    return by and round(by["scale"] * 255, 6) == 1 and by["zero_point"] == 0


def _quantise(picture, by):
    """[0, 1] -> what a file takes."""
    if not by:
        return picture
    whole = np.rint(picture / by["scale"])
    whole += by["zero_point"]
    return np.clip(whole, 0, 255, out=whole).astype(np.uint8)


def _dequantise(restored, by):
    """What a file gives -> float32."""
    if not by:
        return restored
    return (restored.astype(np.float32) - by["zero_point"]) * np.float32(by["scale"])
