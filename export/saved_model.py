"""NAME/VERSION/: a SavedModel that takes pictures of any height and width.

signature        in                                    out
float32          image, (n, h, w, 3) in [0, 1]         restored, the same
uint8            image, (n, h, w, 3) 0 to 255          restored, the same
serving_default  image_bytes, (n,) JPEG or PNG files   restored_bytes, (n,) PNG files
"""

import contextlib
import io
import json

import keras
import tensorflow as tf

from tf_deblur import errors
from tf_deblur.files import whole
from tf_deblur.models import networks

PICTURES = [None, None, None, 3]


def write(model, facts, output):
    """Writes the next free version under OUTPUT/PRESET; the folder appears whole.

    Args:
      model: a generator of `networks.build_generator`, made in float32.
      facts: dict for `assets.extra/model.json`; its preset names the folder.
      output: a `pathlib.Path`.

    Returns:
      The version's folder.
    """
    versions = output / facts["preset"]
    taken = [int(path.name) for path in versions.glob("*") if path.name.isdecimal()]
    folder = versions / str(max(taken, default=0) + 1)
    with whole(folder) as part:
        write_signatures(part, *signatures(model))
        (part / "assets.extra").mkdir()
        (part / "assets.extra/model.json").write_text(json.dumps(facts, indent=1))
    return folder


def write_signatures(folder, *functions):
    """Writes a SavedModel with a signature for each `tf.function`, named after it.

    ExportArchive, unlike a `tf.Module`, keeps its variables for every loader under both
    Keras versions. It finds them in the functions: a model tracked too is stored twice.
    """
    archive = keras.export.ExportArchive()
    for function in functions:
        archive.add_endpoint(function.__name__, function)
    with errors.quiet(), contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(str(folder))


def signatures(model):
    """The SavedModel's signatures as traced functions. Sizes are padded and cut inside."""

    # A tensor of another rank would reach oneDNN and abort the process: ensure_shape refuses it.
    @tf.function(input_signature=[tf.TensorSpec(PICTURES, tf.float32, name="image")])
    def float32(image):
        return {"restored": networks.restore(model, tf.ensure_shape(image, PICTURES))}

    @tf.function(input_signature=[tf.TensorSpec(PICTURES, tf.uint8, name="image")])
    def uint8(image):
        image = tf.cast(tf.ensure_shape(image, PICTURES), tf.float32) / 255
        restored = tf.round(networks.restore(model, image) * 255)  # half to even
        return {"restored": tf.cast(restored, tf.uint8)}

    def restore_file(data):
        image = tf.io.decode_image(data, channels=3, expand_animations=False)
        return tf.io.encode_png(uint8(image[None])["restored"][0])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(image_bytes):
        files = tf.ensure_shape(image_bytes, [None])
        # one after another, since pictures of a batch may differ in size
        return {"restored_bytes": tf.map_fn(restore_file, files, parallel_iterations=1)}

    return float32, uint8, serving_default
