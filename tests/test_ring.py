import itertools

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tf_deblur.errors import UserError
from tf_deblur.training import mixture, ring

PATCH = 32
PLAIN = {"patch_size": PATCH, "seed": 7, "noise_stddev": 0.0, "identity_fraction": 0.0}
SMALL = '{"filters": [8, 16, 32], "down": [1, 1], "middle": 1, "up": [1, 1]}'


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, picture):
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), picture(180, 200, number))
    return sorted(folder.iterdir())


def opened(photographs, **options):
    return ring.Ring([(photographs, 1.0)], **{"count": 4, **PLAIN, **options})


def taken(batches, count):
    return [[half.numpy() for half in batch] for batch in itertools.islice(batches, count)]


def test_a_ring_goes_on_where_it_was(photographs):
    whole = taken(opened(photographs).batches(0), 2 * ring.EVERY + 2)
    later = taken(opened(photographs).batches(ring.EVERY + 1), ring.EVERY + 1)
    assert len({batch[0].tobytes() for batch in whole}) == len(whole)
    for ours, theirs in zip(later, whole[ring.EVERY + 1 :]):
        assert np.array_equal(ours, theirs)


def test_workers_share_a_batch(photographs):
    whole = taken(opened(photographs).batches(0), 1)[0]
    parts = [taken(opened(photographs, worker=i, workers=2).batches(0), 1)[0] for i in (0, 1)]
    assert np.array_equal(np.concatenate(parts, 1), whole)
    with pytest.raises(UserError, match="cannot be shared evenly by 3"):
        opened(photographs, workers=3)


def test_what_is_not_blurred_is_the_photograph_turned_or_mirrored(tmp_path_factory, monkeypatch):
    down, right = np.mgrid[:170, :180]
    where = np.stack([down, right, 0 * down], -1).astype(np.uint8)  # a pixel tells its place
    path = tmp_path_factory.mktemp("places") / "places.png"
    cv2.imwrite(str(path), where[..., ::-1])
    monkeypatch.setattr(ring, "toned", lambda seed, crops: tf.cast(crops, tf.float32) / 255)
    monkeypatch.setattr(ring, "JPEG", (0.0, (60, 98)))
    monkeypatch.setattr(ring, "LAMPS", 0.0)
    batches = opened([path], count=16, identity_fraction=1.0).batches(0)
    blurred, sharp = taken(batches, 1)[0]
    assert np.array_equal(blurred, sharp)
    places = (sharp[..., :2] * 255).round().astype(int)
    ways = set()
    for patch in places:
        by_row, by_column = np.diff(patch, axis=0), np.diff(patch, axis=1)
        assert (by_row == by_row[0, 0]).all() and (by_column == by_column[0, 0]).all()
        assert sorted(np.abs([by_row[0, 0], by_column[0, 0]]).tolist()) == [[0, 1], [1, 0]]
        ways.add((*by_row[0, 0], *by_column[0, 0]))
    assert len(ways) > 4  # of 8, of 16 patches: fewer come once in 3,000 seeds


def test_most_pairs_are_blurred_and_none_loses_its_light(photographs):
    blurred, sharp = taken(opened(photographs, count=32).batches(0), 1)[0]
    texture = [half.std(axis=(1, 2)).mean(-1) for half in (blurred, sharp)]
    assert (texture[0] < 0.95 * texture[1]).mean() > 0.5
    assert blurred.mean() == pytest.approx(sharp.mean(), rel=0.1)


def test_saturation_is_that_of_tensorflow(picture, monkeypatch):
    crops = picture(16, 16)[None]
    monkeypatch.setattr(tf, "argsort", lambda values: tf.constant([[0, 1, 2]]))
    for by in (0.5, 1.5):
        monkeypatch.setattr(ring.on_device, "spread", lambda *_, by=by: tf.fill([1, 1, 1, 1], by))
        ours = ring.toned(tf.constant([1, 2], tf.int64), tf.constant(crops))
        theirs = tf.image.adjust_saturation(tf.constant(crops / np.float32(255)), by)
        assert np.abs(ours - theirs).max() < 1e-5


def test_photographs_that_are_too_small_are_said(tmp_path, picture):
    path = tmp_path / "small.png"
    cv2.imwrite(str(path), picture(100, 300))
    with pytest.raises(UserError, match="no photograph in it has sides of 160 pixels"):
        opened([path])


@pytest.mark.parametrize(
    "options, words",
    [({"rotation": "any"}, "right angles only"), ({"batch_size": 1}, "has none of one of")],
)
def test_mixtures_that_cannot_be(photographs, options, words):
    told = {"batch_size": 4, "worker": 0, "workers": 1, "rotation": "right_angles", "cache": False}
    prepared = [(None, 1.0)] if "batch_size" in options else []
    with pytest.raises(UserError, match=words):
        mixture.Mixture(prepared, [(photographs, 1.0)], **{**told, **PLAIN, **options})


def test_a_training_on_photographs_that_is_stopped_ends_as_one_that_was_not(
    run, tmp_path, photographs
):
    folder = photographs[0].parent

    def train(workdir, steps):
        done = run(
            *("train", f"--dataset=photographs@{folder}", f"--workdir={workdir}"),
            *("--generator=compact", f"--generator_arguments={SMALL}", "--deterministic"),
            *("--rotation=right_angles", "--sgd_fraction=0", f"--steps={steps}"),
            *("--batch_size=4", f"--patch_size={PATCH}", "--identity_fraction=0.1"),
        )
        assert done.returncode == 0, done.stderr
        assert "2 to train on, 1 to validate on" in done.stdout
        return done

    train("whole", 12)
    train("parts", 5)
    train("parts", 12)
    one, other = ((tmp_path / name / "generator.safetensors") for name in ("whole", "parts"))
    from safetensors.numpy import load_file

    for name, value in load_file(one).items():
        assert np.array_equal(value, load_file(other)[name]), name
    assert (tmp_path / "whole/best.safetensors").exists()
