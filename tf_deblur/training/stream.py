"""Prepared data sets -> batches of augmented patches, in an order that can be resumed.

Decoding a pair costs some 30 ms, cutting a patch next to nothing. So a window of pairs is
decoded, several patches are cut from each, and the window's patches are permuted, so that
a batch holds different scenes. The order is a pure function of the seed and the patch's
number in the stream: going on from patch n costs one window, and each of several workers
takes its slice of every batch.
"""

import functools

import numpy as np
import tensorflow as tf

from tf_deblur import devices
from tf_deblur.datasets.prepared import Pairs
from tf_deblur.errors import UserError
from tf_deblur.training import augment, patches
from tf_deblur.training.patches import CANDIDATES, PatchSettings

plain = tf.autograph.experimental.do_not_convert  # nothing here branches on tensors by `if`

WINDOW_PAIRS = 16
PATCHES_A_PAIR = 16


def make_batches(
    mix: list[tuple[Pairs, float]],
    settings: PatchSettings,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    cache: bool = False,
    worker: int = 0,
    workers: int = 1,
) -> tf.data.Dataset:
    """Endless batches of augmented patches; the same ones whatever the threads and workers.

    Args:
      mix: the weights are shares of the pairs in a window.
      batch_size: patches a batch, all workers together.
      seed: with a patch's number, decides everything about it.
      start: number of the first patch wanted, in the whole stream.
      cache: whether decoded pairs are kept in memory, which changes nothing but the speed.
      worker, workers: this worker's number, from 0, and how many there are; each decodes all
        pairs and augments its own slice of each batch.

    Returns:
      A `tf.data.Dataset` of (blurred, sharp), each (batch_size / workers, s, s, 3) float32
      in [0, 1].

    Raises:
      UserError: the workers do not divide the batch, or the cache would not fit.
    """
    per_window = WINDOW_PAIRS * PATCHES_A_PAIR
    own = patches.share_batch(batch_size, workers)
    crop = augment.compute_crop_size(settings.patch_size)
    check(mix, cache)
    order = _Order(mix, seed)
    endless = np.iinfo(np.int64).max
    parallel = {"num_parallel_calls": devices.count_cores(), "deterministic": True}

    @plain
    def cut(number):  # number of a pair in the stream -> (patches, 2, crop, crop, 3)
        pair = order.read_pair(number, cache)
        return cut_crops(pair, crop, [seed, number], settings.min_texture)

    @plain
    def permute(window, crops):  # -> this worker's (n,) numbers, (n, 2, crop, crop, 3)
        places = tf.range(per_window, dtype=tf.int64)
        numbers = window * per_window + places
        shuffled = tf.random.experimental.index_shuffle(
            places, tf.stack([seed, window]), per_window - 1
        )
        mine = (numbers >= start) & ((numbers - start) % batch_size // own == worker)
        crops = tf.reshape(crops, [per_window, 2, crop, crop, 3])
        return tf.boolean_mask(numbers, mine), tf.gather(crops, tf.boolean_mask(shuffled, mine))

    @plain
    def finish(number, crops):
        seeds = tf.stack([tf.constant(seed, tf.int64), number])
        return augment.augment(crops, seeds, settings)

    first = start // per_window
    crops = tf.data.Dataset.range(first * WINDOW_PAIRS, endless).map(cut, **parallel)
    windows = tf.data.Dataset.range(first, endless)
    windows = tf.data.Dataset.zip((windows, crops.batch(WINDOW_PAIRS))).map(permute)
    finished = windows.prefetch(1).unbatch().map(finish, **parallel)
    options = tf.data.Options()
    # they would keep six windows ahead, half a gigabyte, where one does
    options.experimental_optimization.apply_default_optimizations = False
    return finished.batch(own, drop_remainder=True).prefetch(4).with_options(options)


def check(mix: list[tuple[Pairs, float]], cache: bool = False) -> None:
    """UserError if a weight is too small to be met, or the cache would not fit in memory."""
    _Order(mix, seed=0)
    if cache:
        patches.check_memory(
            f"no room for the cache: {sum(len(pairs) for pairs, _ in mix)} decoded pairs",
            sum(pairs.estimate_bytes() for pairs, _ in mix),
            "train without the cache",
        )


class _Order:
    """Which pair of which data set stands at a number of the stream."""

    def __init__(self, mix, seed):
        self.seed = seed
        self.sources = [pairs for pairs, _ in mix]
        shares = np.cumsum([weight for _, weight in mix]) / sum(weight for _, weight in mix)
        ends = np.rint(shares * WINDOW_PAIRS).astype(int)
        self.counts = np.diff(ends, prepend=0)
        if not self.counts.all():
            raise UserError(
                f"a weight below 1/{WINDOW_PAIRS} of the mixture; leave that data set out"
            )
        self.slots = [(d, i) for d, count in enumerate(self.counts) for i in range(count)]

    def read_pair(self, number, cache):
        """In a graph: the stream's pair `number`, (2, h, w, 3) uint8, blurred and sharp."""
        if cache:
            kept = tf.numpy_function(self.load, [number], tf.uint8, stateful=False)
            return tf.ensure_shape(kept, [2, None, None, 3])
        example = tf.numpy_function(self.read, [number], tf.string, stateful=False)
        # every builder here has the same features
        features = self.sources[0].decode(tf.ensure_shape(example, []))
        return tf.stack([features["blurred"], features["sharp"]])

    def read(self, number):
        """The serialised example of the stream's pair `number`."""
        pairs, index = self.find(number)
        return pairs.read(index)

    def load(self, number):
        """The same, decoded and kept: (2, h, w, 3) uint8."""
        pairs, index = self.find(number)
        return pairs.load(index)

    def find(self, number):
        """The `Pairs`, and the index in them."""
        window, slot = divmod(int(number), WINDOW_PAIRS)
        source, offset = self.slots[slot]
        pairs = self.sources[source]
        epoch, place = divmod(window * int(self.counts[source]) + offset, len(pairs))
        return pairs, _shuffle(self.seed, source, epoch, len(pairs))[place]


@functools.lru_cache(maxsize=2 * WINDOW_PAIRS)  # the most data sets, each between two epochs
def _shuffle(seed, source, epoch, count):
    """Each epoch's own permutation of a data set's pairs."""
    return np.random.default_rng([seed, source, epoch]).permutation(count)


def cut_crops(pair: tf.Tensor, size: int, seed: list, min_texture: float) -> tf.Tensor:
    """PATCHES_A_PAIR random crops of a decoded pair.

    Args:
      pair: (2, h, w, 3) uint8, blurred and sharp.
      size: side of a crop, in pixels.
      seed: two whole numbers, which decide the places.
      min_texture: as in `PatchSettings`.

    Returns:
      (patches, 2, size, size, 3) uint8.
    """
    pair = _mirror_to(pair, size)
    room = tf.shape(pair, tf.int64)[1:3] - size + 1
    shape = [PATCHES_A_PAIR, CANDIDATES, 2]
    places = tf.random.stateless_uniform(
        shape, tf.stack(seed), maxval=None, minval=None, dtype=tf.int64
    )
    places = tf.math.floormod(places, room)
    chosen = places[:, 0]
    if min_texture:
        good = _measure_texture(pair[1], places, size) >= min_texture
        chosen = tf.gather(places, tf.argmax(good, -1), batch_dims=1)

    def cut(place):
        return tf.slice(pair, tf.concat([[0], place, [0]], 0), [2, size, size, 3])

    return tf.map_fn(cut, chosen, fn_output_signature=tf.TensorSpec([2, size, size, 3], tf.uint8))


def _measure_texture(image, places, size):
    """Standard deviation of the grey values of every fourth pixel, crop by crop.

    Args:
      image: (h, w, 3) uint8.
      places: (..., 2) int64, the crops' upper left corners.
      size: their side, in pixels.

    Returns:
      (...) float32, in levels of 255.
    """
    width, steps = tf.shape(image, tf.int64)[1], tf.range(0, size, 4, tf.int64)
    corners = places[..., 0] * width + places[..., 1]
    pixels = corners[..., None, None] + steps[:, None] * width + steps
    thin = tf.cast(tf.gather(tf.reshape(image, [-1, 3]), pixels), tf.float32)
    return tf.math.reduce_std(tf.reduce_mean(thin, -1), [-2, -1])


def _mirror_to(pair, size):
    """Mirrors a pair smaller than a rotated patch needs at its lower and right border."""

    def mirror():
        larger = pair
        for axis in (1, 2):
            length = tf.shape(larger)[axis]
            index = tf.range(tf.maximum(length, size)) % (2 * length)
            larger = tf.gather(larger, tf.minimum(index, 2 * length - 1 - index), axis=axis)
        return larger

    return tf.cond(tf.reduce_all(tf.shape(pair)[1:3] >= size), lambda: pair, mirror)
