"""A SavedModel on TensorFlow."""

import numpy as np
import tensorflow as tf

from tf_deblur import devices, errors
from tf_deblur.models import weights
from tf_deblur.restoring import engine


class SavedModelEngine(engine.Engine):
    """A SavedModel of `tf-deblur export`, or the folder of its versions: the newest runs."""

    ran_out = tf.errors.ResourceExhaustedError

    def __init__(self, name, precision):
        folder = weights.find_saved_model(name)
        facts = engine.read_facts(folder / "assets.extra/model.json")
        if devices.list_gpus():  # its layers are made already
            super().__init__(facts)
        else:
            super().__init__(facts, *devices.choose_precision(precision))
        if self.precision == "bfloat16":
            self.pixel_bytes = facts.get("pixel_bytes_bfloat16", self.pixel_bytes)
        try:
            with errors.quiet():
                self._loaded = tf.saved_model.load(str(folder))
            self._float32 = self._loaded.signatures["float32"]
        except (OSError, LookupError, ValueError, tf.errors.OpError) as error:
            engine.refuse(folder, error)

    def run(self, batch: np.ndarray) -> np.ndarray:
        with devices.use_bfloat16_graphs(self.precision == "bfloat16"):
            return self._float32(image=tf.constant(batch))["restored"].numpy()
