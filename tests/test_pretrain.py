"""The trainer that needs no TensorFlow makes the same network, weights and blur."""

import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tf_deblur import datasets
from tf_deblur.blurring import motion
from tf_deblur.models import losses, networks, weights
from tf_deblur.pictures import arrays

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install '.[bench]'")
EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
COMPACT_FLAGS = EXAMPLES.parent / "configs/compact.flags"
SIZE = 160


@pytest.fixture(scope="module")
def pretrain():
    sys.path.insert(0, str(EXAMPLES))
    try:
        import pretrain

        return pretrain
    finally:
        sys.path.remove(str(EXAMPLES))


def planes(picture):
    """(h, w, c) NumPy -> (1, c, h, w) PyTorch."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))[None])


@torch.no_grad()
def test_keras_gives_the_same_picture_from_the_weights_that_ship(pretrain, picture):
    blurred = arrays.to_float(picture(64, 96))
    net = pretrain.Compact()
    pretrain.load(weights.find("compact"), net)
    restored = net(planes(blurred))[0].permute(1, 2, 0).numpy()
    expected = weights.load("compact")(blurred[None]).numpy()[0]
    assert np.abs(expected - blurred).max() > 0.02  # these weights do something
    assert np.abs(restored - expected).max() < 1e-5


def test_its_loss_is_that_of_compact_flags(pretrain, picture):
    pair = [arrays.to_float(picture(64, 96, seed))[None] for seed in (0, 1)]
    lines = COMPACT_FLAGS.read_text().splitlines()
    stated = dict(line.split("=") for line in lines if line.startswith("--"))
    assert stated["--content_loss"] == "charbonnier"
    expected = float(stated["--content_weight"]) * float(losses.charbonnier(*pair))
    expected += float(stated["--spectral_weight"]) * float(losses.spectral(*pair))
    loss = pretrain.loss_of(*(planes(each[0]) for each in pair))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_keras_gives_the_same_picture_from_weights_that_it_writes(pretrain, picture, tmp_path):
    blurred = arrays.to_float(picture(64, 96))
    net, again = pretrain.Compact(), pretrain.Compact()
    for parameter in net.parameters():  # biases and the tail too
        parameter.data += 0.02 * torch.randn(parameter.shape)
    path = tmp_path / "net.safetensors"
    pretrain.save(path, net, trained="not at all")
    pretrain.load(path, again)  # float16 by now
    restored = again(planes(blurred))[0].permute(1, 2, 0).numpy()
    expected = weights.load(path)(blurred[None]).numpy()[0]
    scale = np.abs(expected - blurred).max()
    assert scale > 0.1 and np.abs(restored - expected).max() < 1e-5 * max(1, scale)
    assert weights.describe(path)["trained"] == "not at all"


def test_weights_that_ship_are_written_bit_for_bit(pretrain, tmp_path):
    net = pretrain.Compact()
    pretrain.load(weights.find("compact"), net)
    pretrain.save(tmp_path / "net.safetensors", net)
    ours, theirs = (
        weights.read_variables(weights.load(n)) for n in (tmp_path / "net.safetensors", "compact")
    )
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_it_starts_near_the_identity_and_has_as_many_weights_as_kerass(pretrain):
    torch.manual_seed(0)
    net, x = pretrain.Compact(), torch.rand(1, 3, 32, 32)
    assert (net(x) - x).abs().max() < 0.1
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == networks.build_generator("compact").count_params() == 2_820_204


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("moving", [True, False])
def test_its_blur_is_that_of_motion_py(pretrain, picture, linear, moving):
    sharp = cv2.GaussianBlur(arrays.to_float(picture(SIZE, SIZE)), None, 1.0)
    rng = np.random.default_rng(1)
    camera, own = pretrain.motions(1, 12, 12, "cpu")
    times = torch.linspace(0, 1, 40)[None]
    camera, own = (pretrain.interpolate(path, times) for path in (camera, own))
    region = motion.draw_region(rng, SIZE, SIZE)
    light = sharp**motion.GAMMA if linear else sharp
    mask = planes(region[..., None]) if moving else None
    blurred = pretrain.blur(planes(light), camera, mask, own)[0].permute(1, 2, 0).numpy()
    blurred = np.clip(blurred, 0, 1) ** (1 / motion.GAMMA if linear else 1)

    last = np.tile([[[0.0, 0.0, 1.0]]], (40, 1, 1))
    matrices = [np.concatenate([path[0].numpy(), last], 1) for path in (camera, own)]
    told = (region, matrices[1]) if moving else None
    expected = motion.blur(sharp, matrices[0], moving=told, linear=linear)
    inner = slice(24, -24)
    assert np.abs(expected - sharp)[inner, inner].max() > 0.1
    assert np.abs(blurred - expected)[inner, inner].max() < 1e-2


def test_a_tenth_is_sharp_and_half_of_the_rest_moves_less_than_10_pixels(pretrain):
    shares = {most: share for share, _, most in pretrain.KINDS}
    assert shares[0] == 0.1 and shares[10] == 0.45 and sum(shares.values()) == pytest.approx(1)
    camera, thing = pretrain.motions(64, 1, 10, "cpu")
    for path in (camera, thing):
        box = path[..., 2].amax(1) - path[..., 2].amin(1)
        assert (box.amax(1) < 20.001).all()  # a thing moves with the camera and by itself
    assert pretrain.length(pretrain.motions(8, 0, 0, "cpu")[0], 400) == 0


def test_a_sharp_pair_stays_equal_and_short_paths_take_few_poses(pretrain, monkeypatch):
    poses = []
    monkeypatch.setattr(
        pretrain, "blur", lambda light, path, *_: poses.append(path.shape[1]) or light
    )
    crops = torch.randint(0, 256, (4, 3, 128, 128), dtype=torch.uint8)
    rng = np.random.default_rng(0)
    for kind in ((1, 0, 0), (1, 1, 1.5), (1, 40, 48)):
        monkeypatch.setattr(pretrain, "KINDS", (kind,))
        blurred, sharp = pretrain.make_pairs(crops, rng)
        assert (blurred.int() - sharp.int()).abs().max() <= 1
    assert poses[0] == 1 and poses[1] < 16 and poses[2] == pretrain.MOST_POSES


def test_the_same_photographs_are_held_out(pretrain):
    names = [f"deeper/{number}" for number in range(100)]
    for count in (0, 1, 2, 9, 100):
        held = datasets.choose_held_out(names[:count])
        assert held == pretrain.choose_held_out(names[:count])
        assert min(1, count - 1) <= len(held) < max(count, 1) or not count
    before, after = map(datasets.choose_held_out, (names[:60], names))
    assert before == after & {*names[:60]} and 5 < len(after) < 25


def test_a_few_steps_write_weights_and_a_second_start_goes_on(picture, tmp_path):
    for n in range(2):
        cv2.imwrite(str(tmp_path / f"{n}.png"), picture(190, 200, seed=n))
    told = f"--photographs={tmp_path} --output={tmp_path / 'run'} --patch=16 --batch=8"
    line = [sys.executable, EXAMPLES / "pretrain.py", *told.split()]
    steps = []
    for minutes in (0.001, 0.1):  # the first stops after a step or a few
        done = subprocess.run(
            [*line, "--ring=16", "--made=4", f"--minutes={minutes}", "--device=cpu"],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        begun, ended = done.stdout.splitlines()
        assert "1 photographs" in begun
        steps.append([int(part.split("step ")[1].split(":")[0]) for part in (begun, ended)])
    assert steps[0][0] == 0 < steps[0][1] <= steps[1][0] < steps[1][1]
    weights.load(tmp_path / "run/compact.safetensors")
    assert (
        f"{steps[1][1]} steps" in weights.describe(tmp_path / "run/compact.safetensors")["trained"]
    )
