"""Prepared data sets -> batches of augmented patches, in an order that can be resumed.

Decoding a pair costs some 30 ms, cutting a patch next to nothing. So a window of pairs is
decoded, several patches are cut from each, and the window's patches are permuted, so that
a batch holds different scenes. The order is a pure function of the seed and the patch's
number in the stream: going on from patch n costs one window.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from tf_deblur import augment
from tf_deblur.errors import UserError

WINDOW_PAIRS = 16
PATCHES_A_PAIR = 16
CANDIDATES = 4  # places looked at for a crop with texture

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
        self._source = None

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


def open_pairs(builder, split):
    """The pairs of "train", "validation" or "test" in a prepared data set.

    Data sets without a validation split of their own lend whole sequences of their
    training split to it: GoPro's two by name, or every eighth by name of two or more.

    Raises:
      UserError: there is no such split, or it holds no pairs.
    """
    own = builder.info.splits
    if split in own and (split != "train" or "validation" in own):
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


def training_batches(mix, *, batch_size, patch_size, seed, start=0, min_texture=0, **augmentation):
    """Endless batches of augmented patches.

    Args:
      mix: list of (Pairs, weight); the weights are shares of the pairs in a window.
      batch_size: patches a batch.
      patch_size: side of a patch, in pixels.
      seed: with a patch's number, decides everything about it.
      start: number of the first patch wanted, in the whole stream.
      min_texture: a crop whose sharp grey values spread less than this standard deviation
        (in levels of 255) is exchanged for another one, where a few tries find it.
      **augmentation: passed on to `augment.augment`.

    Returns:
      A `tf.data.Dataset` of (blurred, sharp), each (batch_size, s, s, 3) float32 in [0, 1].
    """
    per_window = WINDOW_PAIRS * PATCHES_A_PAIR
    crop = augment.crop_size(patch_size)
    schedule = _Schedule(mix, seed)
    decode = mix[0][0].decode  # every builder here has the same features
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}

    def cut(number):  # number of a pair in the stream -> (patches, 2, crop, crop, 3)
        example = tf.numpy_function(schedule.read, [number], tf.string, stateful=False)
        return cut_crops(decode(tf.ensure_shape(example, [])), crop, [seed, number], min_texture)

    def permute(window, crops):  # -> (patches, 2, crop, crop, 3)
        order = tf.random.experimental.index_shuffle(
            tf.range(per_window, dtype=tf.int64), tf.stack([seed, window]), per_window - 1
        )
        return tf.gather(tf.reshape(crops, [per_window, 2, crop, crop, 3]), order)

    def finish(number, pair):
        seeds = tf.stack([tf.constant(seed, tf.int64), number])
        return augment.augment(pair, seeds, patch_size=patch_size, **augmentation)

    first = start // per_window
    crops = tf.data.Dataset.range(first * WINDOW_PAIRS, np.iinfo(np.int64).max).map(cut, **parallel)
    windows = tf.data.Dataset.range(first, np.iinfo(np.int64).max)
    windows = tf.data.Dataset.zip((windows, crops.batch(WINDOW_PAIRS))).map(permute)
    patches = windows.unbatch().skip(start % per_window)
    patches = tf.data.Dataset.zip((tf.data.Dataset.range(start, np.iinfo(np.int64).max), patches))
    batches = patches.map(finish, **parallel).batch(batch_size, drop_remainder=True)
    return batches.prefetch(4)


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

    def read(self, number):
        window, slot = divmod(int(number), WINDOW_PAIRS)
        source, offset = self.slots[slot]
        pairs = self.sources[source]
        epoch, place = divmod(window * int(self.counts[source]) + offset, len(pairs))
        return pairs.read(_order(self.seed, source, epoch, len(pairs))[place])


@functools.lru_cache(maxsize=8)
def _order(seed, source, epoch, count):
    """Each epoch's own permutation of a data set's pairs."""
    return np.random.default_rng([seed, source, epoch]).permutation(count)


def cut_crops(features, size, seed, min_texture):
    """PATCHES_A_PAIR random crops of a decoded pair: (patches, 2, size, size, 3) uint8."""
    pair = _at_least(tf.stack([features["blurred"], features["sharp"]]), size)
    room = tf.shape(pair, tf.int64)[1:3] - size + 1
    shape = [PATCHES_A_PAIR, CANDIDATES, 2]
    places = tf.random.stateless_uniform(
        shape, tf.stack(seed), maxval=None, minval=None, dtype=tf.int64
    )
    places = tf.math.floormod(places, room)

    def cut(candidates):
        def grey(place):
            thin = pair[1, place[0] : place[0] + size : 4, place[1] : place[1] + size : 4]
            return tf.math.reduce_std(tf.reduce_mean(tf.cast(thin, tf.float32), -1))

        place = candidates[0]
        if min_texture:
            good = tf.map_fn(grey, candidates, fn_output_signature=tf.float32) >= min_texture
            place = candidates[tf.argmax(good)]
        crop = pair[:, place[0] : place[0] + size, place[1] : place[1] + size]
        return tf.ensure_shape(crop, [2, size, size, 3])

    return tf.stack([cut(candidates) for candidates in tf.unstack(places)])


def _at_least(pair, size):
    """Mirrors a pair smaller than a rotated patch needs at its lower and right border."""
    for axis in (1, 2):
        length = tf.shape(pair)[axis]
        index = tf.range(tf.maximum(length, size)) % (2 * length)
        pair = tf.gather(pair, tf.minimum(index, 2 * length - 1 - index), axis=axis)
    return pair


def whole_frames(pairs, limit=None):
    """Whole pairs for scoring: a dataset of (blurred, sharp), each (1, h, w, 3) in [0, 1].

    Args:
      pairs: the `Pairs` to score.
      limit: at most so many, evenly spaced; None for all.
    """
    count = min(limit or len(pairs), len(pairs))
    chosen = np.linspace(0, len(pairs) - 1, count).round().astype(np.int64)

    def read(index):
        example = tf.numpy_function(pairs.read, [index], tf.string, stateful=False)
        features = pairs.decode(tf.ensure_shape(example, []))
        return tuple(tf.cast(features[key], tf.float32)[None] / 255 for key in ("blurred", "sharp"))

    return tf.data.Dataset.from_tensor_slices(chosen).map(read).prefetch(1)
