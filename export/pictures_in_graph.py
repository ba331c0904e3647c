"""What an exported graph does around its network: reads files, cuts pictures, joins the results.

All of it is TensorFlow's own ops, so that a server needs nothing of ours.
"""

import keras
import tensorflow as tf

from tf_deblur.models import networks
from tf_deblur.restoring import tiling

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
IHDR = 16  # where a PNG file's width and height are, four bytes each


def restore(model: keras.Model, pictures: tf.Tensor, most_pixels: int) -> tf.Tensor:
    """Restores pictures of one size tile by tile, exactly, in bounded memory.

    Sides are mirrored up to the model's multiple as `networks.restore` does it, but a tile at
    a time: no picture is copied for it.

    Args:
      model: a generator of `networks.build_generator`.
      pictures: (n, h, w, 3), uint8 or float32 in [0, 1].
      most_pixels: of a tile, margins included.

    Returns:
      The same shape and type.
    """
    multiple = networks.compute_size_multiple(model)
    margin = tiling.compute_margin(networks.compute_radius(model), multiple)
    if (2 * margin + multiple) ** 2 > most_pixels:
        raise ValueError(f"{most_pixels} pixels: too few for a tile with a margin of {margin}")
    size = tf.shape(pictures, out_type=tf.int64)
    checked = tf.debugging.Assert(tf.reduce_all(size[1:] > 0), ["a picture without pixels", size])
    with tf.control_dependencies([checked]):
        size = tf.identity(size)
    sides = [-(-size[axis] // multiple) * multiple for axis in (1, 2)]
    core = tiling.choose_core(
        sides[0],
        sides[1],
        tf.range(1, sides[1] // multiple + 1),
        margin=margin,
        multiple=multiple,
        most_pixels=most_pixels,
        xp=tf,
    )
    rows, columns = (-(-side // length) for side, length in zip(sides, core))

    def put(index, joined):
        number, tile = index // (rows * columns), index % (rows * columns)
        cut, begin, end, inside = pictures[number], [number], [number + 1], []
        for axis, place in enumerate((tile // columns, tile % columns)):
            kept, seen = tiling.find_span(place, sides[axis], core[axis], margin, tf)
            taken = networks.mirror(tf.range(*seen), size[axis + 1])
            cut = tf.gather(cut, taken, axis=axis)
            begin.append(kept[0])
            end.append(tf.minimum(kept[1], size[axis + 1]))  # what was mirrored is not kept
            inside.append(slice(begin[-1] - seen[0], end[-1] - seen[0]))
        # unlike a scatter it takes no table of places, and writes where the picture is
        joined = tf.raw_ops.TensorStridedSliceUpdate(
            input=joined,
            begin=tf.stack([*begin, 0]),
            end=tf.stack([*end, 3]),
            strides=tf.ones(4, tf.int64),
            value=restore_tile(model, cut)[None, inside[0], inside[1]],
        )
        return index + 1, tf.ensure_shape(joined, [None, None, None, 3])

    _, joined = tf.while_loop(
        lambda index, _: index < size[0] * rows * columns,
        put,
        (tf.constant(0, tf.int64), tf.zeros_like(pictures)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, None, 3])),
        parallel_iterations=1,  # a tile at a time: memory for one
    )
    return joined


def restore_tile(model: keras.Model, tile: tf.Tensor) -> tf.Tensor:
    """(h, w, 3) of either type -> the same; numbers outside [0, 1], and NaN, are taken as in it."""
    blurred = tf.cast(tile, tf.float32) / 255 if tile.dtype == tf.uint8 else tile
    blurred = tf.where(tf.math.is_nan(blurred), 0.0, tf.clip_by_value(blurred, 0, 1))
    restored = model(blurred[None], training=False)[0]
    # what is no number becomes the farther end of the range, as in `restorer.apply_to_floats`
    farther = tf.cast(blurred < 0.5, tf.float32)
    restored = tf.where(tf.math.is_finite(restored), tf.clip_by_value(restored, 0, 1), farther)
    if tile.dtype == tf.uint8:
        restored = tf.cast(tf.round(restored * 255), tf.uint8)  # half to even
    return restored


def read_file(data: tf.Tensor, megapixels: float) -> tf.Tensor:
    """Decodes a JPEG or PNG file whose header claims no more than `megapixels`.

    Args:
      data: a scalar string, the file.
      megapixels: more is refused before anything is decoded: a small file can claim any size.

    Returns:
      (h, w, 3) uint8. Greys become colours, 16 bits 8; alpha and EXIF are not looked at.
    """
    is_png = tf.strings.substr(data, 0, len(PNG)) == PNG
    known = is_png | (tf.strings.substr(data, 0, len(JPEG)) == JPEG)
    checked = tf.debugging.Assert(known, ["neither a JPEG nor a PNG file"])
    with tf.control_dependencies([checked]):
        width_height = tf.cond(is_png, lambda: _png_size(data), lambda: _jpeg_size(data))
    checked = tf.debugging.Assert(
        tf.reduce_prod(width_height) <= int(megapixels * 1e6),
        [
            tf.strings.format("{}x{} pixels", (width_height[0], width_height[1])),
            f"at most {megapixels:g} megapixels are taken",
        ],
    )
    with tf.control_dependencies([checked]):
        return tf.cond(is_png, lambda: tf.io.decode_png(data, 3), lambda: _decode_jpeg(data))


def _png_size(data):
    head = tf.strings.substr(data, 0, IHDR + 8) + b"\0" * (IHDR + 8)  # of a file cut short, zeros
    size = tf.strings.substr(head, IHDR, 8)
    return tf.cast(tf.io.decode_raw(size, tf.int32, little_endian=False), tf.int64)


def _decode_jpeg(data):
    # the other method, TensorFlow's own choice, is 5 levels away from what all others decode
    return tf.io.decode_jpeg(data, 3, dct_method="INTEGER_ACCURATE")


def _jpeg_size(data):
    height_width = tf.io.extract_jpeg_shape(data)[:2]
    return tf.cast(height_width[::-1], tf.int64)
