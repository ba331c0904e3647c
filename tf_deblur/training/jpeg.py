"""What JPEG leaves of pictures, in TensorFlow ops, so that it stays on the device that trains."""

import numpy as np
import tensorflow as tf

# ITU-T T.81, annex K: the divisors of quality 50, row by row.
LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
# JFIF 1.02: luma and two differences of colour, each a weighted sum of red, green and blue.
YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
FREQUENCY, PLACE = np.mgrid[:8, :8]
COSINES = np.cos((2 * PLACE + 1) * FREQUENCY * np.pi / 16) / np.where(FREQUENCY, 2, 8**0.5)
DCT = np.kron(COSINES, COSINES).astype(np.float32)  # of an 8x8 block's 64 values


def compress(pictures: tf.Tensor, quality: tf.Tensor) -> tf.Tensor:
    """Pictures as they are once stored by libjpeg, whose colours have half the resolution.

    Args:
      pictures: (n, h, w, 3) uint8 RGB.
      quality: (n,) integers from 1 to 100, on libjpeg's scale.

    Returns:
      (n, h, w, 3) uint8: libjpeg's own but for its rounding in between.
    """
    height, width = pictures.shape[1:3]
    whole = tf.cast(pictures, tf.float32)
    for axis, length in enumerate((height, width), 1):
        if more := -length % 16:  # whole blocks: the last row, and column, over again
            whole = tf.gather(whole, [*range(length), *[length - 1] * more], axis=axis)
    ycc = tf.round(tf.tensordot(whole, YCC.T, 1))
    luma, colours = ycc[..., :1] - 128, tf.nn.avg_pool2d(ycc[..., 1:], 2, 2, "VALID")
    luma = quantise(luma, LUMA, quality) + 128
    blue, red = (quantise(one, CHROMA, quality) for one in tf.split(colours, 2, -1))
    colours = tf.image.resize(tf.concat([blue, red], -1), whole.shape[1:3])
    rgb = tf.tensordot(tf.concat([luma, colours], -1), np.linalg.inv(YCC).T, 1)
    return tf.cast(tf.round(tf.clip_by_value(rgb, 0, 255)), tf.uint8)[:, :height, :width]


def quantise(plane: tf.Tensor, table: tuple, quality: tf.Tensor) -> tf.Tensor:
    """(n, h, w, 1) values whose blocks' frequencies are whole multiples of a table's divisors."""
    quality = tf.cast(quality, tf.float32)[:, None, None, None]
    percent = tf.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    divisors = tf.clip_by_value((table * percent + 50) // 100, 1, 255)
    frequencies = tf.tensordot(tf.nn.space_to_depth(plane, 8), DCT.T, 1)
    return tf.nn.depth_to_space(
        tf.tensordot(tf.round(frequencies / divisors) * divisors, DCT, 1), 8
    )
