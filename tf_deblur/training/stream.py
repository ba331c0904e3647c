"""Prepared data sets -> batches of augmented patches, in an order that can be resumed.

Decoding a pair costs some 30 ms, cutting a patch next to nothing. So a window of pairs is
decoded, several patches are cut from each, and the window's patches are permuted, so that
a batch holds different scenes. The order is a pure function of the seed and the patch's
number in the stream: going on from patch n costs one window, and each of several workers
takes its slice of every batch.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from tf_deblur import devices, memory
from tf_deblur.errors import UserError
from tf_deblur.pictures import arrays
from tf_deblur.training import augment

plain = tf.autograph.experimental.do_not_convert  # nothing here branches on tensors by `if`

WINDOW_PAIRS = 16
PATCHES_A_PAIR = 16
CANDIDATES = 4  # places looked at for a crop with texture
CACHE_SHARE = 0.8  # of the memory that is free; the training itself needs some

# Chosen by, never trained on: a sequence's frames look alike, so whole sequences are held out.
VALIDATION = {"gopro": ("GOPR0374_11_00", "GOPR0384_11_02")}
EVERY = 8  # elsewhere the 1st, 9th, 17th … sequence by name


@dataclasses.dataclass
class Pairs:
    """Records of one prepared split, read by number.

    Attributes:
      builder: the prepared TFDS builder.
      split: the prepared split that holds the records.
      numbers: (n,) int64, the records that belong, in the order of sequence and frame.
    """

    builder: object
    split: str
    numbers: np.ndarray

    def __len__(self):
        return len(self.numbers)

    def __post_init__(self):
        self._source, self._decoded = None, {}

    def read(self, index):
        """The serialised example of pair `index`."""
        if self._source is None:
            from array_record.python.array_record_data_source import ArrayRecordDataSource

            files = self.builder.info.splits[self.split].filepaths
            self._source = ArrayRecordDataSource([str(file) for file in files])
        return self._source[int(self.numbers[index])]

    def decode(self, example):
        """A serialised example -> its features: uint8 pictures, and names."""
        return self.builder.info.features.deserialize_example(example)

    def decoded(self, index):
        """Pair `index` as (2, h, w, 3) uint8, blurred and sharp; decoded once, then kept."""
        if index not in self._decoded:
            features = self.decode(self.read(index))
            self._decoded[index] = np.stack([features["blurred"], features["sharp"]])
        return self._decoded[index]

    def decoded_bytes(self):
        """Memory that the pairs not yet kept will take, from the sizes of up to 32 of them."""
        some = np.unique(np.linspace(0, len(self) - 1, min(len(self), 32)).astype(int))
        sizes = [6 * np.prod(_png_size(self.read(index)), dtype=int) for index in some]
        return int(np.mean(sizes) * (len(self) - len(self._decoded)))


def _png_size(example):
    """Width and height of the first PNG file in a serialised example."""
    header = example.index(b"IHDR") + 4
    return np.frombuffer(example, ">u4", count=2, offset=header)


def open_pairs(builder, split, hold_out=True):
    """The pairs of "train", "validation" or "test" in a prepared data set.

    Data sets without a validation split of their own lend whole sequences of their
    training split to it: GoPro's two by name, or every eighth by name of two or more.
    Without `hold_out`, as for scoring, "train" has those too.

    Raises:
      UserError: there is no such split, or it holds no pairs.
    """
    own = builder.info.splits
    if split in own and (split != "train" or "validation" in own or not hold_out):
        return _checked(Pairs(builder, split, np.arange(own[split].num_examples)), split)
    if split not in ("train", "validation") or "train" not in own:
        raise UserError(f"{builder.name}: no split {split}; it has {', '.join(own)}")
    sequences = builder.info.metadata["sequences"]["train"]
    held = _held_out(builder.name, sorted(name for name, _ in sequences))
    names = np.repeat([name for name, _ in sequences], [count for _, count in sequences])
    numbers = np.flatnonzero(np.isin(names, held) == (split == "validation"))
    return _checked(Pairs(builder, "train", numbers), split)


def _held_out(dataset, sequences):
    named = [name for name in VALIDATION.get(dataset, ()) if name in sequences]
    return named or (sequences[::EVERY] if len(sequences) > 1 else [])


def _checked(pairs, split):
    if split != "validation" and not len(pairs):
        raise UserError(f"{pairs.builder.name}: no pairs in its split {split}")
    return pairs


def training_batches(
    mix,
    *,
    batch_size,
    patch_size,
    seed,
    start=0,
    min_texture=0,
    cache=False,
    worker=0,
    workers=1,
    **augmentation,
):
    """Endless batches of augmented patches; the same ones whatever the threads and workers.

    Args:
      mix: list of (Pairs, weight); the weights are shares of the pairs in a window.
      batch_size: patches a batch, all workers together.
      patch_size: side of a patch, in pixels.
      seed: with a patch's number, decides everything about it.
      start: number of the first patch wanted, in the whole stream.
      min_texture: a crop whose sharp grey values spread less than this standard deviation
        (in levels of 255) is exchanged for another one, where a few tries find it.
      cache: whether decoded pairs are kept in memory, which changes nothing but the speed.
      worker, workers: this worker's number, from 0, and how many there are; each decodes all
        pairs and augments its own slice of each batch.
      **augmentation: passed on to `augment.augment`.

    Returns:
      A `tf.data.Dataset` of (blurred, sharp), each (batch_size / workers, s, s, 3) float32
      in [0, 1].

    Raises:
      UserError: the workers do not divide the batch, or the cache would not fit.
    """
    per_window = WINDOW_PAIRS * PATCHES_A_PAIR
    own = share(batch_size, workers)
    crop = augment.crop_size(patch_size)
    check(mix, cache)
    schedule = _Schedule(mix, seed)
    endless = np.iinfo(np.int64).max
    parallel = {"num_parallel_calls": devices.cores(), "deterministic": True}

    @plain
    def cut(number):  # number of a pair in the stream -> (patches, 2, crop, crop, 3)
        return cut_crops(schedule.pair(number, cache), crop, [seed, number], min_texture)

    @plain
    def permute(window, crops):  # -> this worker's (n,) numbers, (n, 2, crop, crop, 3)
        places = tf.range(per_window, dtype=tf.int64)
        numbers = window * per_window + places
        order = tf.random.experimental.index_shuffle(
            places, tf.stack([seed, window]), per_window - 1
        )
        mine = (numbers >= start) & ((numbers - start) % batch_size // own == worker)
        crops = tf.reshape(crops, [per_window, 2, crop, crop, 3])
        return tf.boolean_mask(numbers, mine), tf.gather(crops, tf.boolean_mask(order, mine))

    @plain
    def finish(number, crops):
        seeds = tf.stack([tf.constant(seed, tf.int64), number])
        return augment.augment(crops, seeds, patch_size=patch_size, **augmentation)

    first = start // per_window
    crops = tf.data.Dataset.range(first * WINDOW_PAIRS, endless).map(cut, **parallel)
    windows = tf.data.Dataset.range(first, endless)
    windows = tf.data.Dataset.zip((windows, crops.batch(WINDOW_PAIRS))).map(permute)
    patches = windows.prefetch(1).unbatch().map(finish, **parallel)
    settings = tf.data.Options()
    # they would keep six windows ahead, half a gigabyte, where one does
    settings.experimental_optimization.apply_default_optimizations = False
    return patches.batch(own, drop_remainder=True).prefetch(4).with_options(settings)


def share(batch_size, workers):
    """Patches of a batch that each of several workers, or replicas, gets; UserError if uneven."""
    if batch_size % workers:
        raise UserError(
            f"a batch of {batch_size} patches cannot be shared evenly by {workers}; "
            f"use a multiple of {workers}"
        )
    return batch_size // workers


def check(mix, cache=False):
    """UserError if a weight is too small to be met, or the cache would not fit in memory."""
    _Schedule(mix, seed=0)
    if not cache:
        return
    wanted, free = sum(pairs.decoded_bytes() for pairs, _ in mix), memory.free()
    if wanted > CACHE_SHARE * free:
        raise UserError(
            f"no room for the cache: {sum(len(pairs) for pairs, _ in mix)} decoded pairs take "
            f"{wanted / 1e9:.1f} GB, and it may have {CACHE_SHARE * free / 1e9:.1f} of the "
            f"{free / 1e9:.1f} GB that are free; train without the cache"
        )


class _Schedule:
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

    def pair(self, number, cache):
        """In a graph: the stream's pair `number`, (2, h, w, 3) uint8, blurred and sharp."""
        if cache:
            kept = tf.numpy_function(self.decoded, [number], tf.uint8, stateful=False)
            return tf.ensure_shape(kept, [2, None, None, 3])
        example = tf.numpy_function(self.read, [number], tf.string, stateful=False)
        # every builder here has the same features
        features = self.sources[0].decode(tf.ensure_shape(example, []))
        return tf.stack([features["blurred"], features["sharp"]])

    def read(self, number):
        """The serialised example of the stream's pair `number`."""
        pairs, index = self.find(number)
        return pairs.read(index)

    def decoded(self, number):
        """The same, decoded and kept: (2, h, w, 3) uint8."""
        pairs, index = self.find(number)
        return pairs.decoded(index)

    def find(self, number):
        """The `Pairs`, and the index in them."""
        window, slot = divmod(int(number), WINDOW_PAIRS)
        source, offset = self.slots[slot]
        pairs = self.sources[source]
        epoch, place = divmod(window * int(self.counts[source]) + offset, len(pairs))
        return pairs, _order(self.seed, source, epoch, len(pairs))[place]


@functools.lru_cache(maxsize=2 * WINDOW_PAIRS)  # the most data sets, each between two epochs
def _order(seed, source, epoch, count):
    """Each epoch's own permutation of a data set's pairs."""
    return np.random.default_rng([seed, source, epoch]).permutation(count)


def cut_crops(pair, size, seed, min_texture):
    """PATCHES_A_PAIR random crops of a decoded pair.

    Args:
      pair: (2, h, w, 3) uint8, blurred and sharp.
      size: side of a crop, in pixels.
      seed: two whole numbers, which decide the places.
      min_texture: as in `training_batches`.

    Returns:
      (patches, 2, size, size, 3) uint8.
    """
    pair = _at_least(pair, size)
    room = tf.shape(pair, tf.int64)[1:3] - size + 1
    shape = [PATCHES_A_PAIR, CANDIDATES, 2]
    places = tf.random.stateless_uniform(
        shape, tf.stack(seed), maxval=None, minval=None, dtype=tf.int64
    )
    places = tf.math.floormod(places, room)
    chosen = places[:, 0]
    if min_texture:
        good = _texture(pair[1], places, size) >= min_texture
        chosen = tf.gather(places, tf.argmax(good, -1), batch_dims=1)

    def cut(place):
        return tf.slice(pair, tf.concat([[0], place, [0]], 0), [2, size, size, 3])

    return tf.map_fn(cut, chosen, fn_output_signature=tf.TensorSpec([2, size, size, 3], tf.uint8))


def _texture(image, places, size):
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


def _at_least(pair, size):
    """Mirrors a pair smaller than a rotated patch needs at its lower and right border."""

    def mirrored():
        larger = pair
        for axis in (1, 2):
            length = tf.shape(larger)[axis]
            index = tf.range(tf.maximum(length, size)) % (2 * length)
            larger = tf.gather(larger, tf.minimum(index, 2 * length - 1 - index), axis=axis)
        return larger

    return tf.cond(tf.reduce_all(tf.shape(pair)[1:3] >= size), lambda: pair, mirrored)


def whole_frames(pairs, limit=None):
    """Whole pairs for scoring: a dataset of (blurred, sharp), each (1, h, w, 3) in [0, 1].

    Args:
      pairs: the `Pairs` to score.
      limit: at most so many, evenly spaced; None for all.
    """

    @plain
    def read(index):
        example = tf.numpy_function(pairs.read, [index], tf.string, stateful=False)
        features = pairs.decode(tf.ensure_shape(example, []))
        return tuple(tf.cast(features[key], tf.float32)[None] / 255 for key in ("blurred", "sharp"))

    return tf.data.Dataset.from_tensor_slices(_evenly(pairs, limit)).map(read).prefetch(1)


def made_frames(makers, limit=None):
    """As `whole_frames`, a list of what functions make now: a pair of (h, w, 3) uint8 each."""
    pairs = (makers[index]() for index in _evenly(makers, limit))
    return [tuple(tf.constant(arrays.to_float(half)[None]) for half in pair) for pair in pairs]


def _evenly(pairs, limit):
    count = min(limit or len(pairs), len(pairs))
    return np.linspace(0, len(pairs) - 1, count).round().astype(np.int64)
