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
        told = engine.read_facts(folder / "assets.extra/model.json")
        # on a GPU its layers are made already
        chosen = () if devices.gpus() else devices.choose_precision(precision)
        if "bfloat16" in chosen:
            told["pixel_bytes"] = told.get("pixel_bytes_bfloat16", told["pixel_bytes"])
        super().__init__(engine.make_facts(told), *chosen)
        try:
            with errors.quiet():
                self._loaded = tf.saved_model.load(str(folder))
            self._float32 = self._loaded.signatures["float32"]
        except (OSError, LookupError, ValueError, tf.errors.OpError) as error:
            engine.refuse(folder, error)

    def run(self, batch: np.ndarray) -> np.ndarray:
        with devices.bfloat16_graphs(self.precision == "bfloat16"):
            return self._float32(image=tf.constant(batch))["restored"].numpy()
