"""NAME.tflite: the float32 signature for TensorFlow Lite, with NAME.json beside it.

Height and width are any, as in the SavedModel: the padding is inside.
"""

import hashlib
import json
import tempfile

import tensorflow as tf

from tf_deblur import errors
from tf_deblur.export import saved_model
from tf_deblur.files import whole
from tf_deblur.models import networks


def write(model, facts, output):
    """Writes OUTPUT/PRESET.tflite and its JSON; each appears whole.

    Args:
      model: a generator of `networks.build_generator`, made in float32.
      facts: dict for the JSON; its preset names the files. The file's hash is added.
      output: a `pathlib.Path`.

    Returns:
      The `.tflite` file.
    """
    path = output / f"{facts['preset']}.tflite"
    converted = convert(model)
    facts = facts | {"file_sha256": hashlib.sha256(converted).hexdigest()}
    with whole(path) as part:
        part.write_bytes(converted)
    with whole(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(facts, indent=1))
    return path


def convert(model):
    """A generator as a TFLite file's bytes, its one signature `float32`: image -> restored."""

    @tf.function(input_signature=[tf.TensorSpec(saved_model.PICTURES, tf.float32, name="image")])
    def float32(image):
        image = tf.ensure_shape(image, saved_model.PICTURES)
        return {"restored": networks.restore(model, image)}

    with tempfile.TemporaryDirectory() as folder, errors.quiet():
        saved_model.write_signatures(folder, float32)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["float32"])
        return converter.convert()
