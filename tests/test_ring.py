import dataclasses
import itertools
import json

import cv2
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file
from trainings import SMALL

from tf_deblur import memory
from tf_deblur.errors import UserError
from tf_deblur.training import mixture, ring
from tf_deblur.training.patches import PatchSettings

PATCH = 32
PLAIN = PatchSettings(patch_size=PATCH, noise_stddev=0.0)


@pytest.fixture(scope="module", autouse=True)
def a_small_ring():
    """Eight makings, not 32: as true of these claims, and made in a quarter of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring, "FILLS", 8)
        yield


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, picture):
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), picture(180, 200, number))
    return sorted(folder.iterdir())


def opened(photographs, settings=PLAIN, **options):
    return ring.Ring([(photographs, 1.0)], settings, **{"count": 4, "seed": 7, **options})


def taken(batches, count):
    return [[half.numpy() for half in batch] for batch in itertools.islice(batches, count)]


@pytest.fixture(scope="module")
def whole(photographs, a_small_ring):
    return taken(opened(photographs).make_batches(0), 2 * ring.EVERY + 2)


def test_a_ring_goes_on_where_it_was(photographs, whole):
    later = taken(opened(photographs).make_batches(ring.EVERY + 1), ring.EVERY + 1)
    assert len({batch[0].tobytes() for batch in whole}) == len(whole)
    for ours, theirs in zip(later, whole[ring.EVERY + 1 :]):
        assert np.array_equal(ours, theirs)


def test_workers_share_a_batch(photographs, whole):
    parts = [taken(opened(photographs, worker=i, workers=2).make_batches(0), 1)[0] for i in (0, 1)]
    assert np.array_equal(np.concatenate(parts, 1), whole[0])
    with pytest.raises(UserError, match="cannot be shared evenly by 3"):
        opened(photographs, workers=3)


def test_what_is_not_blurred_is_the_photograph_turned_or_mirrored(tmp_path_factory, monkeypatch):
    down, right = np.mgrid[:170, :180]
    where = np.stack([down, right, 0 * down], -1).astype(np.uint8)  # a pixel tells its place
    path = tmp_path_factory.mktemp("places") / "places.png"
    cv2.imwrite(str(path), where[..., ::-1])
    monkeypatch.setattr(
        ring, "change_colours", lambda seed, crops: tf.cast(crops, tf.float32) / 255
    )
    monkeypatch.setattr(ring, "JPEG", (0.0, (60, 98)))
    monkeypatch.setattr(ring, "LAMPS", 0.0)
    batches = opened(
        [path], dataclasses.replace(PLAIN, identity_fraction=1.0), count=16
    ).make_batches(0)
    blurred, sharp = taken(batches, 1)[0]
    assert np.array_equal(blurred, sharp)
    places = (sharp[..., :2] * 255).round().astype(int)
    ways = set()
    for patch in places:
        by_row, by_column = np.diff(patch, axis=0), np.diff(patch, axis=1)
        assert (by_row == by_row[0, 0]).all() and (by_column == by_column[0, 0]).all()
        assert sorted(np.abs([by_row[0, 0], by_column[0, 0]]).tolist()) == [[0, 1], [1, 0]]
        ways.add((*by_row[0, 0], *by_column[0, 0]))
    assert len(ways) > 4  # of 8, of 16 patches: fewer come once in a thousand seeds


def test_most_pairs_are_blurred_and_none_loses_its_light(photographs):
    blurred, sharp = taken(opened(photographs, count=32).make_batches(0), 1)[0]
    texture = [half.std(axis=(1, 2)).mean(-1) for half in (blurred, sharp)]
    assert (texture[0] < 0.95 * texture[1]).mean() > 0.5
    assert blurred.mean() == pytest.approx(sharp.mean(), rel=0.1)


def test_saturation_is_that_of_tensorflow(picture, monkeypatch):
    crops = picture(16, 16)[None]
    monkeypatch.setattr(tf, "argsort", lambda values: tf.constant([[0, 1, 2]]))
    for by in (0.5, 1.5):
        monkeypatch.setattr(ring.on_device, "spread", lambda *_, by=by: tf.fill([1, 1, 1, 1], by))
        ours = ring.change_colours(tf.constant([1, 2], tf.int64), tf.constant(crops))
        theirs = tf.image.adjust_saturation(tf.constant(crops / np.float32(255)), by)
        assert np.abs(ours - theirs).max() < 1e-5


def test_photographs_that_are_too_small_are_said(tmp_path, picture, photographs, capsys):
    path = tmp_path / "small.png"
    cv2.imwrite(str(path), picture(100, 300))
    with pytest.raises(UserError, match="1 of 1 photographs have a side below 160 pixels"):
        opened([path])
    opened([path, *photographs])
    assert "1 of 4 photographs are left out" in capsys.readouterr().out


def test_photographs_that_do_not_fit_are_refused_before_they_are_read(photographs, monkeypatch):
    monkeypatch.setattr(memory, "measure_free", lambda: 1e6)
    monkeypatch.setattr(ring, "read_sizes", None)
    with pytest.raises(UserError, match="use fewer"):
        opened(photographs)


def test_photographs_that_a_gpu_has_no_room_for_are_refused(photographs, monkeypatch):
    monkeypatch.setattr(ring.devices, "list_gpus", lambda: ["a GPU"])
    monkeypatch.setattr(ring.devices, "measure_gpu_free", lambda: 1e6)
    with pytest.raises(UserError, match="are free on the GPU; use fewer"):
        ring.check_room(photographs, 10**6)


def test_a_damaged_photograph_is_named(tmp_path, photographs):
    path = tmp_path / "cut.png"
    path.write_bytes(photographs[0].read_bytes()[:5000])
    with pytest.raises(UserError, match="cut.png"):
        opened([path])


def test_crops_with_texture_are_preferred(tmp_path, picture):
    path = tmp_path / "half.png"
    half = picture(170, 700)
    half[:, 200:] = 128  # crops that see some of the texture are few
    cv2.imwrite(str(path), half)
    spreads = [
        np.mean([patch.std() > 0.02 for patch in taken(made.make_batches(0), 1)[0][1]])
        for made in (
            opened([path], dataclasses.replace(PLAIN, min_texture=least), count=16)
            for least in (0, 12)
        )
    ]
    assert spreads[1] > spreads[0]


def test_a_batch_without_one_of_its_data_sets_is_refused(photographs):
    batches = {"batch_size": 1, "cache": False, "seed": 7, "worker": 0, "workers": 1}
    with pytest.raises(UserError, match="has none of one of"):
        mixture.Mixture([(None, 1.0)], [(photographs, 1.0)], PLAIN, **batches)


def test_a_training_on_photographs_and_pairs_that_is_stopped_ends_as_one_that_was_not(
    run, tmp_path, photographs, picture
):
    for number, name in enumerate("ab"):
        for half in ("blur", "sharp"):
            path = tmp_path / "pairs" / name / half / "0.png"
            path.parent.mkdir(parents=True)
            cv2.imwrite(str(path), picture(48, 48, number))

    def train(workdir, steps):
        done = run(
            *("train", f"--dataset=photographs@{photographs[0].parent},image_pairs@pairs"),
            *(
                "--generator=compact",
                f"--generator_arguments={json.dumps(SMALL)}",
                *("--adversarial_weight=0", "--discriminator_filters=32"),
                "--deterministic",
            ),
            *("--rotation=right_angles", "--sgd_fraction=0", f"--steps={steps}"),
            *("--batch_size=4", f"--patch_size={PATCH}", "--identity_fraction=0.1"),
            *("--data_dir=prepared", f"--workdir={workdir}"),
        )
        assert done.returncode == 0, done.stderr
        assert "2 photographs to train on, 1 to validate on" in done.stdout
        return load_file(tmp_path / workdir / "generator.safetensors")

    whole = train("whole", 12)
    train("parts", 5)
    parts = train("parts", 12)
    assert all(np.array_equal(value, parts[name]) for name, value in whole.items())
    assert (tmp_path / "whole/best.safetensors").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--dataset=photographs@."], "wants --rotation=right_angles"),
        (["--dataset=photographs"], "photographs@FOLDER"),
        (["--dataset=photographs/extent=3@."], "no fields"),
        (["--dataset=photographs@none", "--rotation=right_angles"], "no such folder"),
    ],
)
def test_what_names_no_photographs_is_one_line(run, arguments, words):
    done = run("train", *arguments, "--workdir=run", "--generator=compact")
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
