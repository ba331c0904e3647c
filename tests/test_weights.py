"""A saved network says what it is."""

import json
import pathlib

import numpy as np
import pytest
from safetensors.numpy import load_file

import tf_deblur
from tf_deblur.errors import UserError
from tf_deblur.models import networks, weights
from tf_deblur.pictures import photographs
from tf_deblur.scoring import metrics

SMALL = {"filters": (8, 8, 8), "down": (1, 1), "middle": 1, "up": (1, 1)}
BLURRED = np.random.default_rng(0).random((1, 16, 16, 3), "float32")


def save(path, **options):
    model = networks.build_generator("compact", **SMALL)
    weights.save(path, model, **options)
    return model


def test_a_file_loads_without_being_told_what_it_is(tmp_path):
    model = save(tmp_path / "net.safetensors", trained="not at all")
    loaded = weights.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(loaded(BLURRED), model(BLURRED))
    assert weights.describe(tmp_path / "net.safetensors")["trained"] == "not at all"


def test_a_workdir_stands_for_the_weights_in_it(tmp_path):
    model = save(tmp_path / "generator.safetensors")
    np.testing.assert_array_equal(weights.load(tmp_path)(BLURRED), model(BLURRED))


def test_float16_is_half_the_size_and_within_its_rounding(tmp_path):
    model = save(tmp_path / "half.safetensors", dtype="float16")
    for key, half in load_file(tmp_path / "half.safetensors").items():
        layer, variable = key.split("/")
        exact = np.asarray(getattr(model.get_layer(layer), variable))
        assert half.dtype == np.float16
        np.testing.assert_allclose(half.astype("float32"), exact, rtol=2**-11, atol=2**-25)


def test_keys_are_layer_names_and_tensorflows_order(tmp_path):
    save(tmp_path / "net.safetensors")
    shapes = {k: v.shape for k, v in load_file(tmp_path / "net.safetensors").items()}
    assert shapes["head/kernel"] == (3, 3, 12, 8) and shapes["head/bias"] == (8,)
    assert shapes["middle_block0_conv1/kernel"] == (3, 3, 8, 8)


def test_the_weights_that_ship_are_compact_and_small():
    path = weights.find("compact")
    model = weights.load("compact")
    assert json.loads(model.description) == {"preset": "compact", "arguments": {}}
    assert path.stat().st_size < 6_000_000
    assert weights.describe("compact")["trained"]


def test_the_weights_that_ship_leave_sharp_photographs_alone(shared):
    """Of the pictures by which nothing was trained or chosen, those that are sharp."""
    data = shared / "data"
    sharp = sorted((data / "sharp").glob("*.jpg"))[::8]
    for pattern in ("GOPRO_Large/test/*/sharp/*", "pairs/*/sharp/*", "lai/ground_truth/*"):
        sharp += sorted(data.glob(f"{pattern}.png"))
    assert len(sharp) == 21
    restore = tf_deblur.load("compact")
    pictures = [photographs.read(path) for path in sharp]
    pictures[3:] = [x[-480:, -640:] for x in pictures[3:]]  # corners tell as much
    kept = [metrics.psnr(restore(x), x, data_range=255) for x in pictures]
    assert np.mean(kept) > 42 and min(kept) > 36  # dB


def test_a_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="net.safetensors: not a whole"):
        weights.load(path)


def test_another_architectures_weights_are_refused(tmp_path):
    save(tmp_path / "net.safetensors")
    other = networks.build_generator("compact", **{**SMALL, "middle": 2})
    with pytest.raises(UserError, match="middle_block1_conv0"):
        weights.load_into(other, tmp_path / "net.safetensors")


def test_a_preset_is_the_weights_that_ship_whatever_the_folder_holds(tmp_path, monkeypatch):
    (tmp_path / "compact").mkdir()
    monkeypatch.chdir(tmp_path)
    assert weights.find("compact").parent == weights.PACKAGED
    with pytest.raises(UserError, match="generator.safetensors"):
        weights.find("./compact")


@pytest.mark.parametrize("name", ["paper", "nowhere.safetensors", "."])
def test_what_is_no_model_says_what_would_be(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="model"):
        weights.load(name)


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    save(tmp_path / "net.safetensors")
    before = (tmp_path / "net.safetensors").read_bytes()

    def fail(path, data):
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(pathlib.Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
