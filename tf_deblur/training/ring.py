"""Pairs made of sharp photographs while a training runs, on the device that trains.

The photographs live on the device, and so does a ring of pairs, from which batches are
drawn; every few steps the oldest ones give way to new ones. What is made and drawn depends
on the seed and the number of the step alone: a run that goes on makes the ring's pairs anew.
"""

import concurrent.futures
import contextlib
import itertools
import math
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow import Tensor

from tf_deblur import devices
from tf_deblur.blurring import on_device
from tf_deblur.blurring.motion import GAMMA
from tf_deblur.errors import UserError
from tf_deblur.opencv import cv2
from tf_deblur.pictures import arrays, photographs
from tf_deblur.training import patches
from tf_deblur.training.jpeg import compress
from tf_deblur.training.patches import CANDIDATES, PatchSettings

EVERY = 8  # steps from making to making: so often is a pair drawn, on average
FILLS = 32  # makings in the ring
ROOM = 32  # pixels that a pair is larger than a patch, which is cut anywhere in it
EXTENT = 1.0, 46.0  # of paths, in pixels; those made together are of like lengths
MARGIN = 48  # pixels that blur may reach beyond a pair
POSES = 1.0, 48  # a path has one a pixel, but no more than so many: they are what it costs
ROUGHNESS, FOCAL = 0.4, (0.7, 2.8)  # as `synthetic_blur` has them
LINEAR, MIDDLE, MOVING = 0.6, 0.5, 0.5  # shares of pairs, and of makings
FRAMES = 1 / 3  # share of pairs whose blur is of 7 to 13 moments, as in data sets made of frames
LAMPS = 0.15  # share of pairs whose light goes beyond white before it is blurred
JPEG = 1 / 3, (60, 98)  # share of blurred halves that were stored so, and its quality
REGION = 640  # side of a picture with a thing in it, of which crops see a part, in pixels
LARGEST = 1.5e6  # pixels of a photograph; a larger one is reduced
SIZES = 1.0, 0.7, 0.5  # in which each is there


class Ring:
    """Batches of patches from pairs that are made as the training goes.

    Args:
      folders: paths of photographs, and their shares of the pairs.
      settings: what a patch goes through; noise and identity are a pair's, texture is of the
        crops that pairs are made from, and any rotation is by right angles.
      count: patches a batch, all workers together, and pairs made at once.
      seed: with a step's number, decides everything about it.
      worker, workers: this worker's number and how many there are; each draws its own slice.

    Raises:
      UserError: no photograph of a folder is large enough, they do not fit in memory, the
        workers do not divide the batch, or a file is damaged.
    """

    def __init__(
        self,
        folders: list[tuple[list[pathlib.Path], float]],
        settings: PatchSettings,
        *,
        count: int,
        seed: int,
        worker: int = 0,
        workers: int = 1,
    ):
        self.settings, self.patch = settings, settings.patch_size
        self.count, self.seed = count, seed
        own = patches.share_batch(count, workers)
        self.own = slice(worker * own, (worker + 1) * own)
        self.side = self.patch + ROOM
        self.reach = self.side + 2 * MARGIN
        pairs = tf.zeros([FILLS * count * self.side**2, 6], tf.uint8)
        check_room([path for paths, _ in folders for path in paths], 2 * pairs.shape.num_elements())
        self.pairs = tf.Variable(pairs, trainable=False)
        self.held: list[int | None] = [None] * FILLS
        self.load(folders)

    def load(self, folders: list[tuple[list[pathlib.Path], float]]) -> None:
        """Reads the photographs, and puts them on the device."""
        pictures: list[np.ndarray] = []
        chances: list[float] = []
        with concurrent.futures.ThreadPoolExecutor(devices.count_cores()) as pool:
            for paths, weight in folders:
                read = list(pool.map(lambda path: read_sizes(path, self.reach), paths))
                kept = [found for found in read if found]
                small = f"{len(read) - len(kept)} of {len(read)} photographs"
                where = os.path.commonpath([path.parent for path in paths])
                below = f"have a side below {self.reach} pixels"
                if not kept:
                    raise UserError(
                        f"{where}: {small} {below}, which patches of {self.patch} are made "
                        "from; use a smaller --patch_size"
                    )
                if len(kept) < len(read):
                    print(f"{where}: {small} are left out: they {below}", flush=True)
                chances += [weight / len(kept) / len(found) for found in kept for _ in found]
                pictures += itertools.chain(*kept)
        pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures])
        counts = [picture.size // 3 for picture in pictures]
        # variables, for a GPU gathers bytes from nothing else
        self.pixels = tf.Variable(pixels, trainable=False)
        self.starts = tf.constant(np.cumsum([0, *counts[:-1]]), tf.int64)
        self.sizes = tf.constant([picture.shape[:2] for picture in pictures], tf.int64)
        self.ends = tf.constant(np.cumsum(chances) / np.sum(chances), tf.float32)

    def make_batches(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless batches from a step on: (blurred, sharp), (own, s, s, 3) float32 in [0, 1].

        The ring is filled now; of a run that has just begun this takes a while.
        """
        if None in self.held:
            print(f"blurring the first {FILLS * self.count} pairs of photographs", flush=True)
        self.fill(step)
        return map(self.make_batch, itertools.count(step))

    def make_batch(self, step: int) -> tuple[Tensor, Tensor]:
        self.fill(step)
        return self.draw(tf.constant(step, tf.int64))

    def fill(self, step: int) -> None:
        """Makes what the ring holds at a step, and does not hold yet."""
        newest = FILLS - 1 + step // EVERY
        for number in range(newest - FILLS + 1, newest + 1):
            place = number % FILLS
            if self.held[place] != number:
                made = self.make(tf.constant(number, tf.int64))
                rows = tf.range(place * len(made), (place + 1) * len(made), dtype=tf.int64)
                self.pairs.scatter_update(tf.IndexedSlices(made, rows))
                self.held[place] = number

    @tf.function(autograph=False)
    def draw(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """A step's patches, turned and mirrored in the eight ways that keep pixels as they are."""
        seeds = on_device.split(tf.stack([-1 - tf.constant(self.seed, tf.int64), step]), 3)
        shape = [self.count]
        pair = tf.random.stateless_uniform(shape, next(seeds), 0, FILLS * self.count, tf.int64)
        corner = tf.random.stateless_uniform([2, *shape], next(seeds), 0, ROOM + 1, tf.int64)
        ways = tf.random.stateless_uniform([3, *shape], next(seeds), 0, 2, tf.int32) > 0
        # a turn or a mirror is another first pixel, and other strides down and right from it
        y, x = tf.unstack(tf.where(ways[:2], corner + self.patch - 1, corner))
        down, right = tf.unstack(tf.where(ways[:2], -1, 1) * tf.constant([[self.side], [1]]))
        down, right = tf.where(ways[2], right, down), tf.where(ways[2], down, right)
        first = pair * self.side**2 + y * self.side + x
        first, down, right = (tf.cast(part, tf.int64)[self.own] for part in (first, down, right))
        drawn = cut(self.pairs, first, down, right, self.patch)
        return tuple(tf.split(tf.cast(drawn, tf.float32) / 255, 2, -1))

    @tf.function(autograph=False)
    def make(self, number: Tensor) -> Tensor:
        """The pairs of a making: (count * side², 6) uint8, blurred and sharp."""
        seeds = on_device.split(tf.stack([tf.constant(self.seed, tf.int64), number]), 8)
        each = [self.count, 1, 1, 1]
        crops, longer = self.cut_crops(next(seeds))
        encoded = change_colours(next(seeds), crops)
        linear = on_device.spread(next(seeds), each) < LINEAR
        light = add_lamps(next(seeds), tf.where(linear, encoded**GAMMA, encoded), linear)
        blurred = self.blur(next(seeds), light, longer)
        inner = slice(MARGIN, MARGIN + self.side)
        pair = (tf.clip_by_value(half, 0, 1) for half in (blurred, light[:, inner, inner]))
        blurred, sharp = (tf.where(linear, half ** (1 / GAMMA), half) for half in pair)
        level = tf.abs(
            tf.random.stateless_normal(each, next(seeds), stddev=self.settings.noise_stddev)
        )
        noise = level * tf.random.stateless_normal(tf.shape(blurred), next(seeds))
        blurred = compress_some(next(seeds), round_to_8_bits(blurred + noise))
        return tf.reshape(tf.concat([blurred, round_to_8_bits(sharp)], -1), [-1, 6])

    def cut_crops(self, seed: Tensor) -> tuple[Tensor, Tensor]:
        """Crops of the photographs, (count, reach, reach, 3), and the photographs' larger sides."""
        seeds = on_device.split(seed, 2)
        chosen = tf.searchsorted(self.ends, on_device.spread(next(seeds), [self.count]))
        size, start = tf.gather(self.sizes, chosen), tf.gather(self.starts, chosen)
        tries = [self.count, CANDIDATES if self.settings.min_texture else 1, 2]
        share = on_device.spread(next(seeds), tries)
        room = tf.cast(size - self.reach + 1, tf.float32)[:, None]
        place = tf.minimum(tf.cast(share * room, tf.int64), (size - self.reach)[:, None])
        firsts, width = start[:, None] + place[..., 0] * size[:, 1:] + place[..., 1], size[:, 1]
        if self.settings.min_texture:  # every fourth pixel tells it
            thin = cut(self.pixels, firsts, 4 * width[:, None], 4, self.reach // 4)
            grey = tf.reduce_mean(tf.cast(thin, tf.float32), -1)
            good = tf.math.reduce_std(grey, [-2, -1]) >= self.settings.min_texture
            best = tf.argmax(tf.cast(good, tf.float32), -1)
            firsts = tf.gather(firsts, best[:, None], batch_dims=1)
        crops = cut(self.pixels, firsts[:, 0], width, tf.ones_like(width), self.reach)
        return crops, tf.cast(tf.reduce_max(size, -1), tf.float32)

    def blur(self, seed: Tensor, light: Tensor, longer: Tensor) -> Tensor:
        """Light blurred by paths of like lengths, (count, side, side, 3); by turns, things move."""
        seeds = on_device.split(seed, 10)
        focal = longer * spread_logarithmically(next(seeds), [self.count], *FOCAL)
        typical = spread_logarithmically(next(seeds), [], *EXTENT)
        extents = typical * on_device.spread(next(seeds), [2, self.count], 0.7, 1.4)
        sharp = on_device.spread(next(seeds), [self.count]) < self.settings.identity_fraction
        extents = tf.where(sharp, 0.0, tf.minimum(extents, EXTENT[1]))
        middle = on_device.spread(next(seeds), [self.count]) < MIDDLE
        frames = tf.random.stateless_uniform([self.count], next(seeds), 7, 14, tf.int32)
        frames = tf.where(on_device.spread(next(seeds), [self.count]) < FRAMES, frames, 0)
        camera = on_device.draw_camera_motion(next(seeds), extents[0], focal, ROUGHNESS)
        of_thing, of_region = on_device.split(next(seeds), 2)
        how = focal, self.side, middle, frames, *POSES

        def blur_still_scene():
            (path,), shares = on_device.trace_paths([camera], *how)
            return on_device.blur(light, path, shares, self.side)

        def blur_moving_thing():
            thing = on_device.draw_object_motion(of_thing, extents[1], focal, ROUGHNESS)
            (path, own), shares = on_device.trace_paths([camera, thing], *how)
            region = on_device.draw_region(of_region, self.count, self.reach, REGION)
            return on_device.blur(light, path, shares, self.side, (region, own))

        moves = on_device.spread(next(seeds), []) < MOVING
        return tf.cond(moves, blur_moving_thing, blur_still_scene)


def read_sizes(path: pathlib.Path, least: int) -> list[np.ndarray]:
    """A photograph in several sizes, (h, w, 3) uint8 each; those with a side below `least` not."""
    whole = arrays.to_uint8(arrays.to_float(photographs.read(path)))
    side = min(whole.shape[:2])
    most = min(1.0, max(math.sqrt(LARGEST / (whole.size / 3)), least / side))
    factors = [most * size for size in SIZES if round(side * most * size) >= least]
    how = {"interpolation": cv2.INTER_AREA}
    return [whole if by == 1 else cv2.resize(whole, None, fx=by, fy=by, **how) for by in factors]


def check_room(paths: list[pathlib.Path], ring: int) -> None:
    """UserError, before they are read, if photographs and a ring of so many bytes do not fit."""
    pixels = 0.0
    for path in paths:
        with contextlib.suppress(OSError), Image.open(path) as picture:  # who reads it says it
            pixels += min(picture.width * picture.height, LARGEST)
    what = f"{len(paths)} photographs and the pairs made of them"
    instead = "use fewer, or prepare pairs by --dataset=synthetic_blur"
    once, gpu = 3 * pixels * sum(size**2 for size in SIZES), bool(devices.list_gpus())
    if gpu:
        patches.check_memory(what, once + ring, instead, gpu)
    here = 2 * once if gpu else 3 * once + ring  # read, joined, on the device
    patches.check_memory(what, here, instead)


def cut(pixels: Tensor, first: Tensor, down: Tensor, right: Tensor, size: int) -> Tensor:
    """Squares of pixels: (…) numbers of their first ones, strides -> (…, size, size, channels)."""
    places = tf.range(size, dtype=tf.int64)
    down, right = (tf.convert_to_tensor(stride, tf.int64) for stride in (down, right))
    rows = first[..., None, None] + down[..., None, None] * places[:, None]
    return tf.gather(pixels, rows + right[..., None, None] * places)


def spread_logarithmically(seed: Tensor, shape: list, low: float, high: float) -> Tensor:
    """Random numbers, evenly spread on a logarithmic scale."""
    return tf.exp(on_device.spread(seed, shape, math.log(low), math.log(high)))


def change_colours(seed: Tensor, crops: Tensor) -> Tensor:
    """Colours shuffled, more or less saturated: 8 bits -> float32 in [0, 1]."""
    seeds = on_device.split(seed, 2)
    count = crops.shape[0]
    order = tf.argsort(on_device.spread(next(seeds), [count, 3]))
    encoded = tf.cast(crops, tf.float32) / 255
    encoded = tf.gather(encoded, order, axis=-1, batch_dims=1)
    most = tf.reduce_max(encoded, -1, keepdims=True)
    saturation = tf.math.divide_no_nan(most - tf.reduce_min(encoded, -1, keepdims=True), most)
    by = on_device.spread(next(seeds), [count, 1, 1, 1], 0.5, 1.5)
    by = tf.minimum(by, tf.math.divide_no_nan(1.0, saturation))  # HSV's is 1 at most
    return most - (most - encoded) * by


def add_lamps(seed: Tensor, light: Tensor, linear: Tensor) -> Tensor:
    """Some of the linear light beyond white."""
    seeds, each = on_device.split(seed, 2), [light.shape[0], 1, 1, 1]
    beyond = tf.nn.relu(light - 0.75) * on_device.spread(next(seeds), each, 0.0, 6.0)
    lit = linear & (on_device.spread(next(seeds), each) < LAMPS / LINEAR)
    return light + tf.where(lit, beyond, 0.0)


def round_to_8_bits(pictures: Tensor) -> Tensor:
    return tf.cast(tf.round(tf.clip_by_value(pictures, 0, 1) * 255), tf.uint8)


def compress_some(seed: Tensor, pictures: Tensor) -> Tensor:
    """A share of (n, s, s, 3) uint8 pictures as JPEG leaves them."""
    seeds, count = on_device.split(seed, 2), pictures.shape[0]
    share, (low, high) = JPEG
    chosen = on_device.spread(next(seeds), [count, 1, 1, 1]) < share
    quality = tf.random.stateless_uniform([count], next(seeds), low, high + 1, tf.int32)
    return tf.where(chosen, compress(pictures, quality), pictures)
