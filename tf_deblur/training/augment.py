"""The paper's augmentations, in its order, as pure functions on a pair.

Every random number is stateless: the same seed gives the same patch, on any machine.
"""

import functools
import math

import tensorflow as tf
from tensorflow import Tensor

from tf_deblur.errors import quiet
from tf_deblur.training.patches import PatchSettings


def compute_crop_size(patch_size: int) -> int:
    """Side of the crop from which a patch can be cut at any angle, no corner empty, in pixels.

    Its excess over the patch is even, so that an unrotated patch falls on whole pixels.
    """
    return patch_size + 2 * math.ceil((math.sqrt(2) - 1) * patch_size / 2 + 1)


def augment(pair: Tensor, seed: Tensor, settings: PatchSettings) -> tuple[Tensor, Tensor]:
    """Turns a crop of a pair into a training patch of it.

    Args:
      pair: (2, c, c, 3) uint8, blurred and sharp, c being `compute_crop_size(patch_size)`.
      seed: (2,) int64; the result depends on nothing else.

    Returns:
      blurred, sharp: (patch_size, patch_size, 3) float32 in [0, 1].
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 5))
    pair = tf.cast(pair, tf.float32) / 255
    pair = rotate_or_flip(pair, seeds[0], settings.patch_size, settings.rotation)
    pair = shuffle_channels(pair, seeds[1])
    pair = change_saturation(pair, seeds[2])
    identity = tf.random.stateless_uniform([], seeds[3]) < settings.identity_fraction
    blurred, sharp = pair[tf.cast(identity, tf.int32)], pair[1]
    blurred = add_noise(blurred, seeds[4], settings.noise_stddev)
    return tf.clip_by_value(blurred, 0, 1), tf.clip_by_value(sharp, 0, 1)


def rotate_or_flip(images: Tensor, seed: Tensor, patch_size: int, rotation: str) -> Tensor:
    """A quarter each: rotation by a random angle, horizontal flip, vertical flip, neither."""
    seeds = tf.random.experimental.stateless_split(seed, 2)
    edge = (images.shape[1] - patch_size) // 2
    middle = images[:, edge : edge + patch_size, edge : edge + patch_size]

    def turn():
        if rotation == "right_angles":
            quarters = tf.random.stateless_uniform([], seeds[0], 1, 4, tf.int32)
            return tf.image.rot90(middle, quarters)
        angle = tf.random.stateless_uniform([], seeds[0], -math.pi, math.pi)
        cos, sin = tf.cos(angle), tf.sin(angle)
        return turn_and_cut(images, tf.stack([cos, -sin, sin, cos]), patch_size)

    # only a rotation by any angle is sampled: it costs as much as all else together
    ways = [
        turn,
        lambda: tf.reverse(middle, [2]),
        lambda: tf.reverse(middle, [1]),
        lambda: middle,
    ]
    return tf.switch_case(tf.random.stateless_uniform([], seeds[1], 0, 4, tf.int32), ways)


def turn_and_cut(images: Tensor, matrix: Tensor, size: int) -> Tensor:
    """Samples a size × size patch round the images' centre, turned by a 2×2 matrix.

    Args:
      images: (n, c, c, channels) float32.
      matrix: (4,) row by row; maps (x, y) in the patch to (x, y) in the image, from
        centre to centre. Whole-pixel positions are sampled without loss.
      size: side of the result, in pixels.

    Returns:
      (n, size, size, channels) float32, bilinear.
    """
    a, b, c, d = tf.unstack(matrix)
    inner, outer = (size - 1) / 2, (images.shape[1] - 1) / 2
    transform = [a, b, outer - (a + b) * inner, c, d, outer - (c + d) * inner, 0.0, 0.0]
    return warp(images, tf.stack(transform)[None], (size, size))


def warp(images: Tensor, transforms: Tensor, output_shape: tuple[int, int]) -> Tensor:
    """`tfa.image.transform`, bilinear; without TensorFlow Addons, the op that it wraps."""
    addons = _import_addons()
    if addons:
        return addons.image.transform(images, transforms, "bilinear", output_shape=output_shape)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=output_shape,
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


@functools.cache
def _import_addons():
    try:
        with quiet():  # its end-of-life notice
            import tensorflow_addons
    except ImportError:  # no wheels beyond Python 3.11
        return None
    return tensorflow_addons


def shuffle_channels(images: Tensor, seed: Tensor) -> Tensor:
    order = tf.random.experimental.stateless_shuffle(tf.range(3), seed)
    return tf.tensordot(images, tf.one_hot(order, 3, axis=0, dtype=images.dtype), 1)


def change_saturation(images: Tensor, seed: Tensor) -> Tensor:
    """HSV saturation times a random number in [0.5, 1.5]."""
    return tf.image.adjust_saturation(images, tf.random.stateless_uniform([], seed, 0.5, 1.5))


def add_noise(blurred: Tensor, seed: Tensor, stddev: float) -> Tensor:
    """Gaussian noise; its level is the absolute value of a normal number of spread `stddev`."""
    seeds = tf.random.experimental.stateless_split(seed, 2)
    level = tf.abs(tf.random.stateless_normal([], seeds[0], stddev=stddev))
    return blurred + level * tf.random.stateless_normal(tf.shape(blurred), seeds[1])
