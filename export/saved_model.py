"""NAME/VERSION/: a SavedModel that takes pictures of any height and width.

signature        in                                    out
float32          image, (n, h, w, 3) in [0, 1]         restored, the same
uint8            image, (n, h, w, 3) 0 to 255          restored, the same
serving_default  image_bytes, (n,) JPEG or PNG files   restored_bytes, (n,) PNG files
"""

import contextlib
import functools
import io
import json
import pathlib
from collections.abc import Callable

import keras
import tensorflow as tf

from tf_deblur import errors
from tf_deblur.errors import UserError
from tf_deblur.export import pictures_in_graph, warmup
from tf_deblur.files import whole

PICTURES = [None, None, None, 3]
TILE_BYTES = 1e9  # what a server's memory has to hold for the network; larger tiles gain little
MEGAPIXELS = 64  # of a file, as most cameras have; decoded and restored they take 0.4 GB


def write(
    model: keras.Model,
    facts: dict,
    output: pathlib.Path,
    version: int | None = None,
    megapixels: float = MEGAPIXELS,
) -> pathlib.Path:
    """Writes a version under OUTPUT/PRESET; the folder appears whole, and replaces none.

    Args:
      model: a generator of `networks.build_generator`, made in float32.
      facts: dict for `assets.extra/model.json`; its preset names the folder. The limits
        that were built in are added.
      output: a `pathlib.Path`.
      version: number of the folder; the next free one if not given.
      megapixels: how large a file `serving_default` takes.

    Returns:
      The version's folder.

    Raises:
      UserError: the version is there.
    """
    versions = output / facts["preset"]
    taken = [int(path.name) for path in versions.glob("*") if path.name.isdecimal()]
    if version in taken:
        raise UserError(
            f"{versions / str(version)}: is there already, and a server may run it; "
            "leave off --version for the next number"
        )
    folder = versions / str(version or max(taken, default=0) + 1)
    most_pixels = int(TILE_BYTES / facts["pixel_bytes"])
    facts = facts | {"tile_pixels": most_pixels, "max_megapixels": megapixels}
    # a server that polls takes whatever is named by a number: the name comes last
    with whole(folder, replace=False) as part, errors.quiet():
        write_signatures(part, *make_signatures(model, most_pixels, megapixels))
        extra = part / "assets.extra"
        extra.mkdir()
        (extra / "model.json").write_text(json.dumps(facts, indent=1))
        warmup.write(extra / "tf_serving_warmup_requests", part)
    return folder


def write_signatures(folder: str | pathlib.Path, *functions: Callable) -> None:
    """Writes a SavedModel with a signature for each `tf.function`, named after it.

    ExportArchive, unlike a `tf.Module`, keeps its variables for every loader under both
    Keras versions. It finds them in the functions: a model tracked too is stored twice.
    """
    archive = keras.export.ExportArchive()
    for function in functions:
        archive.add_endpoint(function.__name__, function)
    with errors.quiet(), contextlib.redirect_stdout(io.StringIO()):
        archive.write_out(str(folder))


def make_signatures(
    model: keras.Model, most_pixels: int, megapixels: float = MEGAPIXELS
) -> tuple[Callable, ...]:
    """The SavedModel's signatures as traced functions: sizes, tiles and limits are inside.

    Args:
      model: a generator of `networks.build_generator`.
      most_pixels: of a tile, margins included.
      megapixels: how large a file may be.
    """

    # nothing here branches on tensors by `if`: without AutoGraph an export takes half the time
    function = functools.partial(tf.function, autograph=False)

    def restore(image):
        # A tensor of another rank would reach oneDNN and abort the process: this refuses it.
        return pictures_in_graph.restore(model, tf.ensure_shape(image, PICTURES), most_pixels)

    @function(input_signature=[tf.TensorSpec(PICTURES, tf.float32, name="image")])
    def float32(image):
        return {"restored": restore(image)}

    @function(input_signature=[tf.TensorSpec(PICTURES, tf.uint8, name="image")])
    def uint8(image):
        return {"restored": restore(image)}

    def restore_file(data):
        image = pictures_in_graph.read_file(data, megapixels)
        # 49 ms a 1280x720 frame where the default takes 464, and 14 % larger
        return tf.io.encode_png(uint8(image[None])["restored"][0], compression=1)

    @function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(image_bytes):
        files = tf.ensure_shape(image_bytes, [None])
        # one after another: sizes differ, and memory is for one
        return {"restored_bytes": tf.map_fn(restore_file, files, parallel_iterations=1)}

    return float32, uint8, serving_default
