"""The blur of `motion`, of a batch at once in TensorFlow's ops: where a training runs.

Motions are (n, moments, 6) and paths (n, poses, 3, 3), float32, each as `motion` has it, one
for each of n square pictures. Random ones depend on their seed alone, and are spread as
`motion`'s are.
"""

import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tensorflow import Tensor

from tf_deblur.blurring.motion import FINE
from tf_deblur.opencv import cv2


def spread(
    seed: Tensor, shape: list, low: Tensor | float = 0.0, high: Tensor | float = 1.0
) -> Tensor:
    """Random numbers, evenly spread; `low` and `high` may be tensors."""
    return low + (high - low) * tf.random.stateless_uniform(shape, seed)


def split(seed: Tensor, count: int) -> Iterator[Tensor]:
    """`count` seeds from one, (2,) int64."""
    return iter(tf.unstack(tf.random.experimental.stateless_split(seed, count)))


def draw_walk(seed: Tensor, extent: Tensor, roughness: float) -> Tensor:
    """`motion.draw_walk`, in closed form: (n,) extents -> (n, FINE, 2) positions."""
    seeds, count = split(seed, 4), tf.shape(extent)[0]
    push = 0.2 * roughness * spread(next(seeds), [count, 1, 1])
    first = tf.random.stateless_normal([count, 1, 2], next(seeds))
    kicks = push * tf.random.stateless_normal([count, FINE - 1, 2], next(seeds))
    thrown = spread(next(seeds), [count, FINE, 1]) < 0.005
    turns = tf.math.cumprod(tf.where(thrown, -1.0, 1.0), 1)
    # speed[t] = 0.99 turn[t] speed[t - 1] + kick[t], of which this is the sum over all kicks
    decay = 0.99 ** tf.range(FINE, dtype=tf.float32)[:, None]
    speed = turns * decay * tf.cumsum(turns / decay * tf.concat([first, kicks], 1), 1)
    return _fit(tf.cumsum(speed, 1), extent)


def draw_camera_motion(seed: Tensor, extent: Tensor, focal: Tensor, roughness: float) -> Tensor:
    """`motion.draw_camera_motion`: (n,) extents and focal lengths in pixels -> (n, FINE, 6)."""
    seeds, count = split(seed, 7), tf.shape(extent)[0]
    share = spread(next(seeds), [count], 0.0, 0.5)
    turned = draw_walk(next(seeds), 1 - share, roughness)
    shifted = draw_walk(next(seeds), share, roughness)
    roll, forward = (
        draw_walk(next(seeds), spread(next(seeds), [count], 0.0, most), roughness)[..., :1]
        for most in (0.5, 0.4)
    )
    turn = tf.stack([-turned[..., 1], turned[..., 0]], -1)
    return _stretch(tf.concat([turn, roll, shifted, forward], -1), extent, focal)


def draw_object_motion(seed: Tensor, extent: Tensor, focal: Tensor, roughness: float) -> Tensor:
    """`motion.draw_object_motion`: straight in six cases of ten, else on a curve."""
    seeds, count = split(seed, 3), tf.shape(extent)[0]
    angle = spread(next(seeds), [count, 1], 0.0, 2 * math.pi)
    direction = tf.stack([tf.cos(angle), tf.sin(angle)], -1)
    line = tf.linspace(0.0, 1.0, FINE)[:, None] * direction
    curve = draw_walk(next(seeds), tf.ones([count]), roughness)
    walk = tf.where(spread(next(seeds), [count, 1, 1]) < 0.6, line, curve)
    return _stretch(tf.pad(walk, [(0, 0), (0, 0), (3, 1)]), extent, focal)


def _fit(walk, extent):
    """A walk made larger or smaller, so that the larger side of its box is `extent`, (n,)."""
    side = tf.reduce_max(tf.reduce_max(walk, 1) - tf.reduce_min(walk, 1), -1)
    return walk * (extent / tf.maximum(side, 1e-9))[:, None, None]


def _stretch(motion, extent, focal):
    turned = tf.stack([motion[..., 1], -motion[..., 0]], -1)
    centre = focal[:, None, None] * (turned + motion[..., 3:5])
    side = tf.reduce_max(tf.reduce_max(centre, 1) - tf.reduce_min(centre, 1), -1)
    return motion * (extent / tf.maximum(side, 1e-9))[:, None, None]


def compute_homographies(motion: Tensor, focal: Tensor) -> Tensor:
    """`motion.compute_homographies`: motions and (n,) focal lengths -> (n, moments, 3, 3)."""
    x, y, z = tf.unstack(motion[..., :3], axis=-1)
    zero = tf.zeros_like(x)
    cross = tf.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1)
    cross = tf.reshape(cross, tf.concat([tf.shape(x), [3, 3]], 0))
    angle = tf.maximum(tf.norm(motion[..., :3], axis=-1), 1e-6)[..., None, None]
    once, twice = tf.sin(angle) / angle, 2 * (tf.sin(angle / 2) / angle) ** 2
    turn = tf.eye(3) + once * cross + twice * _product(cross, cross)  # Rodrigues' formula
    path = turn + motion[..., 3:, None] * tf.constant([0.0, 0, 1])  # before a plane: across n
    scale = tf.stack([focal, focal, tf.ones_like(focal)], -1)[:, None]
    return path * scale[..., None] / scale[..., None, :]


def _product(a, b):
    """(…, i, j) and (…, j, k) -> (…, i, k) in full float32; a GPU's own products are coarser."""
    return tf.reduce_sum(a[..., :, :, None] * b[..., None, :, :], -2)


def trace_paths(
    motions: list,
    focal: Tensor,
    side: int,
    middle: Tensor,
    frames: Tensor,
    spacing: float,
    most: int = FINE,
) -> tuple:
    """`motion.trace_paths` of a batch, with as many poses as its longest path wants.

    Args:
      motions: a list of motions that happen at once, (n, FINE, 6) each.
      focal: (n,) focal lengths in pixels.
      side: of the pictures.
      middle: (n,) whether a path's reference is its middle, else its mean pose.
      frames: (n,) int32. 0 for light that is collected all the time; else at so many
        moments, as in data sets whose blur is a mean of frames.
      spacing: no pixel moves farther from a pose to the next, in pixels, unless that takes
        more than `most` poses.

    Returns:
      A list of paths, and (n, poses) the shares of the exposure that poses stand for.
    """
    longest = [
        _moves(compute_homographies(motion - tf.reduce_mean(motion, 1, keepdims=True), focal), side)
        for motion in motions
    ]
    moves = tf.reduce_max(tf.stack(longest), 0)
    gone = tf.pad(tf.cumsum(moves, 1), [(0, 0), (1, 0)])
    count = tf.cast(tf.math.ceil(tf.reduce_max(gone) * 1.02 / spacing), tf.int32) + 1
    count = tf.minimum(count, most)
    evenly = tf.range(count, dtype=tf.float32) / tf.cast(tf.maximum(count - 1, 1), tf.float32)
    times = _times(gone, evenly * gone[:, -1:])
    before, after = tf.pad(times, [(0, 0), (1, 0)]), tf.pad(times, [(0, 0), (0, 1)])
    edges = (before + after)[:, 1:-1] / 2
    shares = tf.pad(edges, [(0, 0), (0, 1)], constant_values=1.0) - tf.pad(edges, [(0, 0), (1, 0)])

    number, stops = tf.range(count), tf.clip_by_value(frames, 1, count)[:, None]
    stop = number * stops // count
    poses = -(-(stop + 1) * count // stops) + -stop * count // stops  # that stand at that stop
    stopped = (tf.cast(stop, tf.float32) + 0.5) / tf.cast(stops, tf.float32)
    still = (frames > 0)[:, None]
    times = tf.where(still, stopped, times)
    shares = tf.where(still, 1 / tf.cast(stops * poses, tf.float32), shares)

    found = []
    for motion in motions:
        posed = _at(times, motion)
        centre, half = tf.reduce_sum(shares[..., None] * posed, 1, keepdims=True), FINE // 2
        reference = (motion[:, half - 1 : half] + motion[:, half : half + 1]) / 2
        posed -= tf.where(middle[:, None, None], reference, centre)
        found.append(compute_homographies(posed, focal))
    return found, shares


def _moves(path, side):
    """How far the corner of a picture that moves most goes from each moment to the next."""
    corners = [[x * side / 2, y * side / 2, 1] for x in (-1, 1) for y in (-1, 1)]
    moved = _product(path, tf.constant(np.transpose(corners), tf.float32))
    places = moved[..., :2, :] / moved[..., 2:, :]
    return tf.reduce_max(tf.norm(places[:, 1:] - places[:, :-1], axis=-2), -1)


def _times(gone, wanted):
    """When so much of a path is gone: (n, FINE), rising, and (n, poses) -> (n, poses)."""
    before = tf.clip_by_value(tf.searchsorted(gone, wanted, "right") - 1, 0, FINE - 2)
    start, end = (tf.gather(gone, before + i, batch_dims=1) for i in (0, 1))
    share = tf.math.divide_no_nan(wanted - start, end - start)
    return (tf.cast(before, tf.float32) + tf.clip_by_value(share, 0, 1)) / (FINE - 1)


def _at(times, motion):
    place = times * (FINE - 1)
    before = tf.minimum(tf.cast(place, tf.int32), FINE - 2)
    start, end = (tf.gather(motion, before + i, batch_dims=1) for i in (0, 1))
    return start + (place - tf.cast(before, tf.float32))[..., None] * (end - start)


def draw_region(seed: Tensor, count: int, side: int, whole: int) -> Tensor:
    """Windows of regions as `motion.draw_region` makes them, soft-edged and of random shape.

    Args:
      seed: (2,) int64.
      count: how many.
      side: of a window, in pixels, which is the same part of all.
      whole: the side of the regions.

    Returns:
      (count, side, side, 1) float32 in [0, 1].
    """
    seeds = split(seed, 3)
    coarse = tf.random.stateless_normal([count, 5, 5], next(seeds))
    down, right = tf.unstack(
        tf.random.stateless_uniform([2], next(seeds), 0, max(whole - side, 0) + 1, tf.int32)
    )
    smooth = enlarge(coarse, max(side, whole), down, right, side)[..., None]
    edge = spread(next(seeds), [count, 1, 1, 1], 0.0, 0.8)
    return tf.clip_by_value((smooth - edge) * 15 + 0.5, 0, 1)


def enlarge(coarse: Tensor, whole: int, down: Tensor, right: Tensor, side: int) -> Tensor:
    """Windows of (n, 5, 5) grids enlarged by OpenCV's cubic: (n, side, side)."""
    weights = tf.constant(
        cv2.resize(np.eye(5, dtype="float32"), (5, whole), interpolation=cv2.INTER_CUBIC)
    )
    rows, columns = weights[down : down + side], weights[right : right + side]
    return tf.einsum("ya,nab,xb->nyx", rows, coarse, columns)


def blur(
    light: Tensor, path: Tensor, shares: Tensor, side: int, moving: tuple | None = None
) -> Tensor:
    """`motion.blur` of a batch: what a sensor collects, before it is clipped.

    Args:
      light: (n, s, s, 3) float32, linear or encoded.
      path, shares: as from `trace_paths`.
      side: of the results, which are the middles of the pictures.
      moving: None, or (region, path): (n, s, s, 1) in [0, 1] and a path of its own.

    Returns:
      (n, side, side, 3) float32; beyond the border a picture is mirrored.
    """

    def add(pose, mean):
        frame = _warp(light, path[:, pose], side)
        if moving is not None:
            front = _warp(tf.concat([light, moving[0]], -1), moving[1][:, pose], side)
            frame += (front[..., :3] - frame) * front[..., 3:]
        return pose + 1, mean + shares[:, pose, None, None, None] * frame

    nothing = tf.zeros([tf.shape(light)[0], side, side, 3])
    return tf.while_loop(lambda pose, _: pose < tf.shape(path)[1], add, [0, nothing])[1]


def _warp(images, pose, side):
    """The middles of images sampled at `pose` (n, 3, 3) of each point, bilinear."""
    inner, outer = (side - 1) / 2, (images.shape[1] - 1) / 2
    to_centre = tf.constant([[1, 0, outer], [0, 1, outer], [0, 0, 1]], tf.float32)
    from_centre = tf.constant([[1, 0, -inner], [0, 1, -inner], [0, 0, 1]], tf.float32)
    matrix = _product(_product(to_centre, pose), from_centre)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.reshape(matrix / matrix[:, 2:, 2:], [-1, 9])[:, :8],
        output_shape=[side, side],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
