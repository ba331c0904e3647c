"""A SavedModel on TensorFlow, of ours or of others, whose Keras files are one too."""

import pathlib

import numpy as np
import tensorflow as tf

from tf_deblur import devices, errors
from tf_deblur.models import weights
from tf_deblur.restoring import describing, engine, graph_backend, loading


class SavedModelEngine(engine.Engine):
    """A SavedModel of `tf-deblur export`, or the folder of its versions: the newest runs."""

    ran_out = tf.errors.ResourceExhaustedError

    def __init__(self, name, precision):
        folder = weights.find_saved_model(name)
        told = engine.read_facts(folder / loading.OURS)
        # on a GPU its layers are made already
        chosen = () if devices.list_gpus() else devices.choose_precision(precision)
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
        with devices.use_bfloat16_graphs(self.precision == "bfloat16"):
            return self._float32(image=tf.constant(batch))["restored"].numpy()


class ForeignSavedModelEngine(graph_backend.GraphEngine):
    """A SavedModel of others, by the signature that serves by default, or a `.keras` file.

    `model_facts` are as `describing.read_told` takes them.
    """

    def __init__(self, name, precision, model_facts=None):
        path, told = pathlib.Path(name), describing.read_told(name, model_facts)
        try:
            with errors.quiet():
                function = _open_keras(path) if path.suffix == ".keras" else _open_signature(path)
                graph, images, tensors = graph_backend.freeze(function)
        except Exception as error:  # Keras and TensorFlow have all kinds
            engine.refuse(path, error, "no network that TensorFlow opens")
        names = function.structured_outputs
        names = sorted(names) if isinstance(names, dict) else map(str, range(len(tensors)))
        super().__init__(name, precision, graph, images, dict(zip(names, tensors)), told)


def _open_keras(path):
    import keras

    model = keras.models.load_model(str(path), compile=False, safe_mode=True)
    taken = [tf.TensorSpec(it.shape, it.dtype) for it in model.inputs]
    return tf.function(
        lambda *given: model([*given] if len(given) > 1 else given[0], training=False), taken
    ).get_concrete_function()


def _open_signature(path):
    loaded = tf.saved_model.load(str(weights.find_saved_model(path)))
    named = loaded.signatures
    if not named:
        raise ValueError("it has no signature")
    chosen = named["serving_default" if "serving_default" in named else next(iter(named))]
    chosen._loaded = loaded  # a signature alone does not keep its variables
    return chosen
