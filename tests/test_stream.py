"""The order of patches is a function of seed and number alone, and is the one that is promised."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from tf_deblur import datasets, memory
from tf_deblur.datasets import prepared
from tf_deblur.errors import UserError
from tf_deblur.pictures import photographs
from tf_deblur.training import augment, patches, stream
from tf_deblur.training.patches import PatchSettings

SETTINGS = PatchSettings(patch_size=16, noise_stddev=0.01, identity_fraction=0.2)
BATCHES = {"batch_size": 96, "seed": 5}
WINDOW = stream.WINDOW_PAIRS * stream.PATCHES_A_PAIR
SEQUENCES = {"train": ["GOPR0372_07_00", "GOPR0374_11_00", "GOPR0857_11_00"], "test": ["GOPR0384"]}
HEIGHT, WIDTH, FRAMES = 48, 64, 3


@pytest.fixture(scope="module")
def gopro(picture, tmp_path_factory):
    """The builder of a tiny GOPRO_Large: three sequences to train on, one of them held out."""
    folder = tmp_path_factory.mktemp("gopro")
    for split, sequences in SEQUENCES.items():
        for place, sequence in enumerate(sequences):
            write_pairs(folder / "GOPRO_Large" / split / sequence, FRAMES, picture, 10 * place)
    return datasets.prepare("gopro", folder / "prepared", folder)


def write_pairs(folder, count, picture, seed):
    for frame in range(count):
        for half, kind in enumerate(("blur", "sharp")):
            image = picture(HEIGHT, WIDTH, seed=2 * (seed + frame) + half)
            photographs.write(folder / kind / f"{frame:06d}.png", image)


@pytest.fixture
def train(gopro):
    return prepared.open_pairs(gopro, "train")


class Numbered(prepared.Pairs):
    """Pairs of flat pictures: pair n's pixels are `first` + n. Keeps count of what is read."""

    def __init__(self, count, first=0):
        super().__init__(None, "train", np.arange(first, first + count))
        self.reads = collections.Counter()

    def read(self, index):
        number = int(self.numbers[index])
        self.reads[number] += 1
        return bytes([number])

    def decode(self, example):
        picture = tf.fill([32, 32, 3], tf.io.decode_raw(example, tf.uint8)[0])
        return {"blurred": picture, "sharp": picture}


@pytest.fixture
def numbers(monkeypatch):
    """Runs a stream of `Numbered`: numbers(mix, count) -> which pair each patch came from."""
    monkeypatch.setattr(augment, "augment", lambda pair, seed, _: (pair[0, 0, 0, 0], seed[1]))

    def run(mix, count, **options):
        options = {**BATCHES, "batch_size": 16, **options}
        batches = stream.make_batches(mix, SETTINGS, **options)
        return [int(n) for batch, _ in batches.take(count // 16) for n in batch]

    return run


def patches_of(pairs, batches, threads=None, **options):
    """The first batches of a stream, joined: (2, patches, s, s, 3)."""
    made = stream.make_batches([(pairs, 1)], SETTINGS, **{**BATCHES, **options})
    if threads:
        settings = tf.data.Options()
        settings.threading.private_threadpool_size = threads
        made = made.with_options(settings)
    return np.concatenate([np.stack(batch) for batch in made.take(batches)], axis=1)


def test_one_two_and_four_threads_give_the_same_batches(train):
    one, two, four = (patches_of(train, 4, threads) for threads in (1, 2, 4))
    assert one.shape == (2, 4 * 96, 16, 16, 3) and 4 * 96 > WINDOW
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, four)


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("start", [0, 100])
def test_workers_slices_joined_are_the_whole_batches(train, workers, start):
    whole = patches_of(train, 4, start=start).reshape(2, 4, 96, 16, 16, 3)
    slices = [patches_of(train, 4, start=start, worker=k, workers=workers) for k in range(workers)]
    slices = [part.reshape(2, 4, 96 // workers, 16, 16, 3) for part in slices]
    np.testing.assert_array_equal(np.concatenate(slices, axis=2), whole)


@pytest.mark.parametrize("start", [1, 96, WINDOW - 1, WINDOW, WINDOW + 50])
def test_a_stream_started_at_patch_n_is_the_whole_one_from_n_on(train, start):
    whole = patches_of(train, 5)
    np.testing.assert_array_equal(patches_of(train, 1, start=start), whole[:, start : start + 96])


def test_another_seed_is_another_stream(train):
    assert not np.array_equal(patches_of(train, 1), patches_of(train, 1, seed=6))


def test_a_batch_that_the_workers_do_not_divide_is_refused(train):
    with pytest.raises(UserError, match="96 patches cannot be shared evenly by 5"):
        patches_of(train, 1, workers=5)
    assert patches.share_batch(96, 4) == 24


def test_a_batch_holds_different_scenes(numbers):
    found = np.reshape(numbers([(Numbered(100), 1)], 4 * WINDOW), [-1, 16])
    # 16 of 256 patches, 16 of each pair: 10.5 different pairs on average
    assert min(len(set(batch)) for batch in found) >= 6
    assert np.mean([len(set(batch)) for batch in found]) == pytest.approx(10.5, abs=0.5)


def test_every_pair_is_used_before_any_is_used_again(numbers):
    windows = numbers([(Numbered(32), 1)], 4 * WINDOW)
    epochs = windows[: 2 * WINDOW], windows[2 * WINDOW :]
    for epoch in epochs:
        assert collections.Counter(epoch) == dict.fromkeys(range(32), stream.PATCHES_A_PAIR)
    assert set(epochs[0][:WINDOW]) != set(epochs[1][:WINDOW])  # each epoch has its own order


def test_a_mixtures_weights_are_kept_in_every_window(numbers):
    found = numbers([(Numbered(5), 3), (Numbered(90, first=100), 1)], 8 * WINDOW)
    for window in np.reshape(found, [-1, WINDOW]):
        assert np.mean(window < 100) == 3 / 4


def test_a_share_too_small_for_a_window_is_refused(numbers):
    with pytest.raises(UserError, match="1/16"):
        numbers([(Numbered(5), 100), (Numbered(5), 1)], 16)


@pytest.mark.parametrize("start", [0, 10**12])
@pytest.mark.parametrize("pairs", [100, 250])
def test_what_is_read_does_not_grow_with_the_data_set_or_the_start(numbers, pairs, start):
    source = Numbered(pairs)
    numbers([(source, 1)], 2 * WINDOW, start=start)
    ahead = 3 * stream.WINDOW_PAIRS  # a window waits, one is being filled, threads begin a third
    assert 0 <= source.reads.total() - 2 * stream.WINDOW_PAIRS <= ahead


def test_the_cache_changes_no_bit(train):
    plain = patches_of(train, 4, start=7)
    for _ in range(2):  # filling it, then from it
        np.testing.assert_array_equal(patches_of(train, 4, start=7, cache=True), plain)


def test_the_cache_decodes_every_pair_once(numbers):
    source = Numbered(10)
    source.estimate_bytes = lambda: 0
    for _ in range(2):  # a training's second phase opens a second stream
        numbers([(source, 1)], 4 * WINDOW, cache=True)
    # two threads may begin the same pair at the same time
    assert set(source.reads) == set(range(10)) and source.reads.total() < 20


def test_a_cache_that_would_not_fit_is_refused_in_one_line(train, monkeypatch):
    size = len(train) * 2 * HEIGHT * WIDTH * 3
    assert train.estimate_bytes() == size
    monkeypatch.setattr(memory, "measure_free", lambda: size / patches.MEMORY_SHARE + 1)
    patches_of(train, 1, cache=True)
    again = prepared.Pairs(train.builder, train.split, train.numbers)
    monkeypatch.setattr(memory, "measure_free", lambda: size / patches.MEMORY_SHARE - 1)
    with pytest.raises(UserError, match=r"no room for the cache: 6 decoded pairs take .* GB") as e:
        patches_of(again, 1, cache=True)
    assert "\n" not in str(e.value)


def test_gopros_two_sequences_are_for_validation_and_never_for_training(gopro, train):
    held = names(prepared.open_pairs(gopro, "validation"))
    assert held == [("GOPR0374_11_00", f"{frame:06d}") for frame in range(FRAMES)]
    assert len(names(train)) == 2 * FRAMES and not set(held) & set(names(train))
    assert len(prepared.open_pairs(gopro, "test")) == FRAMES
    assert len(prepared.open_pairs(gopro, "train", hold_out=False)) == 3 * FRAMES  # for scoring


def names(pairs):
    read = [pairs.decode(pairs.read(index)) for index in range(len(pairs))]
    return [tuple(f[key].numpy().decode() for key in ("sequence", "frame")) for f in read]


def split(folder, places, picture):
    """The names of an eighth that is held out, and of the rest, of pairs at these places."""
    for number, place in enumerate(places):
        write_pairs(folder / "mine" / place, 1, picture, 10 * number)
    builder = datasets.prepare("image_pairs", folder / "prepared", folder / "mine")
    return [names(prepared.open_pairs(builder, split)) for split in ("validation", "train")]


def test_sequences_that_are_trained_on_are_not_held_out_when_more_are_added(picture, tmp_path):
    few = [f"scene{number}" for number in range(12)]
    more = [f"scene{number:02d}b" for number in range(6)]
    before, after = (
        split(tmp_path / str(len(places)), places, picture) for places in (few, few + more)
    )
    for held, rest in (before, after):
        assert held and rest and not {*held} & {*rest}
    assert {*before[1]} <= {*after[1]}
    assert len(before[0] + before[1]) == 12 and len(after[0] + after[1]) == 18


def test_of_one_sequence_an_eighth_of_the_frames_is_for_validation(picture, tmp_path):
    write_pairs(tmp_path / "mine", 16, picture, 0)
    builder = datasets.prepare("image_pairs", tmp_path / "prepared", tmp_path / "mine")
    held, rest = (names(prepared.open_pairs(builder, split)) for split in ("validation", "train"))
    assert 1 <= len(held) < len(rest) and sorted(held + rest) == [
        (".", f"{number:06d}") for number in range(16)
    ]


@pytest.mark.parametrize("count, held", [(1, 0), (2, 1)])
def test_of_two_one_is_for_validation_and_of_one_none(picture, tmp_path, count, held):
    write_pairs(tmp_path / "mine", count, picture, 0)
    builder = datasets.prepare("image_pairs", tmp_path / "prepared", tmp_path / "mine")
    found = [len(prepared.open_pairs(builder, split)) for split in ("validation", "train")]
    assert found == [held, count - held]


def test_a_split_that_there_is_not_is_refused(gopro):
    with pytest.raises(UserError, match="no split holiday"):
        prepared.open_pairs(gopro, "holiday")


def test_both_halves_are_cut_at_the_same_place(picture):
    sharp = picture(HEIGHT, WIDTH)
    crops = stream.cut_crops(np.stack([255 - sharp, sharp]), 26, [0, 1], 0).numpy()
    assert crops.shape == (stream.PATCHES_A_PAIR, 2, 26, 26, 3)
    np.testing.assert_array_equal(255 - crops[:, 0], crops[:, 1])
    assert len({crop.tobytes() for crop in crops[:, 1]}) > stream.PATCHES_A_PAIR // 2


def test_crops_lie_anywhere_in_the_picture():
    rows, columns = np.mgrid[:30, :40].astype("uint8")
    where = np.stack([rows, columns, rows], -1)
    corners = np.concatenate(
        [stream.cut_crops(np.stack([where, where]), 26, [0, n], 0)[:, 0, 0, 0] for n in range(40)]
    )
    assert set(corners[:, 0]) == set(range(5)) and set(corners[:, 1]) == set(range(15))


def test_small_pictures_are_mirrored(picture):
    small = picture(10, 20)
    crops = stream.cut_crops(np.stack([small, small]), 26, [0, 1], 0).numpy()
    mirrored = np.pad(small, [(0, 16), (0, 6), (0, 0)], mode="symmetric")
    for crop in crops[:, 1]:
        np.testing.assert_array_equal(crop, mirrored)


def test_flat_crops_are_avoided_where_there_are_others(picture):
    image = np.full((200, 200, 3), 90, "uint8")
    image[:100] = picture(100, 200)

    def flat(min_texture):
        crops = [stream.cut_crops(np.stack([image] * 2), 20, [0, n], min_texture) for n in range(9)]
        return np.mean([crop.std() < 1 for crop in np.concatenate(crops)[:, 1]])

    assert flat(0) == pytest.approx(0.45, abs=0.15)  # 81 of 181 rows
    assert flat(12) < 0.12  # all four places looked at: 4 %


def test_a_picture_without_texture_is_cut_all_the_same():
    flat = np.full((2, 40, 40, 3), 90, "uint8")
    assert stream.cut_crops(flat, 26, [0, 1], 12).shape[0] == stream.PATCHES_A_PAIR


def test_whole_frames_are_evenly_spaced(train):
    for limit, chosen in [(None, range(6)), (2, (0, 5)), (99, range(6))]:
        frames = list(prepared.read_frames(train, limit))
        assert len(frames) == len(chosen)
        for (blurred, sharp), index in zip(frames, chosen):
            pair = np.stack([blurred, sharp])
            np.testing.assert_array_equal(pair, train.load(index))
