"""A .tflite file on LiteRT, or on TensorFlow's own interpreter."""

import hashlib
import pathlib

import numpy as np
import tensorflow as tf

from tf_deblur import devices, errors
from tf_deblur.errors import UserError
from tf_deblur.restoring import restorer


class TFLiteRestorer(restorer.Restorer):
    """A `.tflite` file of `tf-deblur export`, with its JSON beside it; float32 arithmetic."""

    def __init__(self, name, precision):
        path = pathlib.Path(name)
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        facts = restorer.read_facts(path.with_suffix(".json"))
        if hashlib.sha256(path.read_bytes()).hexdigest() != facts.get("sha256"):
            # the interpreter checks nothing: what is cut short ends the process
            raise restorer.damaged(path, "another file than its .json tells of")
        super().__init__(name, facts)
        self.device = f"{devices.cores()} processor cores, TensorFlow Lite"
        try:
            with errors.quiet():
                interpreter = _interpreter()(str(path), num_threads=devices.cores())
                self._float32 = interpreter.get_signature_runner("float32")
                side = self.size_multiple
                self.run(np.zeros((1, side, side, self.channels), np.float32))  # says its delegate
        except (ValueError, RuntimeError) as error:
            raise restorer.damaged(path, error) from error

    def run(self, batch):
        return self._float32(image=batch)["restored"]


def _interpreter():
    try:
        from ai_edge_litert.interpreter import Interpreter  # tf.lite's successor, and faster
    except ImportError:
        return tf.lite.Interpreter
    return Interpreter
