"""A network of ours on Keras."""

import tensorflow as tf

from tf_deblur import devices
from tf_deblur.models import networks, weights
from tf_deblur.restoring import restorer


class KerasRestorer(restorer.Restorer):
    """Weights of ours: a preset, a training's working directory, a `.safetensors` file."""

    ran_out = tf.errors.ResourceExhaustedError

    def __init__(self, name, precision):
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
