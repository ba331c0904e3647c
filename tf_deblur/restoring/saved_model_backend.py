"""A SavedModel on TensorFlow."""

import tensorflow as tf

from tf_deblur import devices, errors
from tf_deblur.models import weights
from tf_deblur.restoring import restorer


class SavedModelRestorer(restorer.Restorer):
    """A SavedModel of `tf-deblur export`, or the folder of its versions: the newest runs."""

    ran_out = tf.errors.ResourceExhaustedError

    def __init__(self, name, precision):
        folder = weights.find_saved_model(name)
        facts = restorer.read_facts(folder / "assets.extra/model.json")
        if devices.gpus():  # its layers are made already
            super().__init__(name, facts)
        else:
            super().__init__(name, facts, *devices.choose_precision(precision))
        if self.precision == "bfloat16":
            self.pixel_bytes = facts.get("pixel_bytes_bfloat16", self.pixel_bytes)
        try:
            with errors.quiet():
                self._loaded = tf.saved_model.load(str(folder))
            self._float32 = self._loaded.signatures["float32"]
        except (OSError, LookupError, ValueError, tf.errors.OpError) as error:
            raise restorer.damaged(folder, error) from error

    def run(self, batch):
        with devices.bfloat16_graphs(self.precision == "bfloat16"):
            return self._float32(image=tf.constant(batch))["restored"].numpy()
