"""The augmentations, against NumPy, OpenCV and the standard library."""

import colorsys
import dataclasses

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tf_deblur.training import augment
from tf_deblur.training.patches import PatchSettings

PATCH = 32
CROP = augment.compute_crop_size(PATCH)
PLAIN = PatchSettings(patch_size=PATCH, noise_stddev=0.0)
IMAGE = np.random.default_rng(0).random((CROP, CROP, 3), "float32")
MIDDLE = slice((CROP - PATCH) // 2, (CROP + PATCH) // 2)


def seeds(count):
    return [tf.constant([7, n], tf.int64) for n in range(count)]


def pair_of(image):
    return np.repeat((image * 255).round().astype("uint8")[None], 2, axis=0)


@pytest.mark.parametrize("degrees", [0, 17, 45, -133])
def test_a_rotation_is_opencvs(degrees):
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    inner, outer = (PATCH - 1) / 2, (CROP - 1) / 2
    matrix = np.array([[cos, -sin], [sin, cos]])
    shift = outer - matrix @ [inner, inner]
    smooth = cv2.GaussianBlur(IMAGE, (0, 0), 2)  # OpenCV interpolates with 5-bit weights
    where = np.concatenate([matrix, shift[:, None]], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(smooth, where, (PATCH, PATCH), flags=flags)
    turned = augment.turn_and_cut(smooth[None], matrix.ravel().astype("float32"), PATCH)[0]
    np.testing.assert_allclose(turned, expected, atol=3e-3)


def test_no_corner_is_empty_at_any_angle():
    white = np.ones((1, CROP, CROP, 1), "float32")
    for angle in np.linspace(0, np.pi, 61):
        matrix = np.array([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], "float32")
        assert np.min(augment.turn_and_cut(white, matrix, PATCH)) > 0.999


def test_unrotated_patches_are_the_middle_or_its_mirrors_to_the_bit():
    middle = IMAGE[MIDDLE, MIDDLE]
    wanted = {"neither": middle, "horizontal": middle[:, ::-1], "vertical": middle[::-1]}
    found = set()
    for seed in seeds(40):
        patch = augment.rotate_or_flip(IMAGE[None], seed, PATCH, "any")[0]
        found |= {name for name, image in wanted.items() if np.array_equal(patch, image)}
    assert found == set(wanted)


def test_right_angles_keep_every_pixel():
    middle, found = IMAGE[MIDDLE, MIDDLE], set()
    wanted = {f"turned {k}": np.rot90(middle, k) for k in (1, 2, 3)}
    wanted |= {"neither": middle, "horizontal": middle[:, ::-1], "vertical": middle[::-1]}
    for seed in seeds(80):
        patch = augment.rotate_or_flip(IMAGE[None], seed, PATCH, "right_angles")[0]
        same = {name for name, image in wanted.items() if np.array_equal(patch, image)}
        assert same
        found |= same
    assert found == set(wanted)


def test_addons_and_the_fallback_give_the_same_pixels(monkeypatch):
    pytest.importorskip("tensorflow_addons", reason="no wheels for this Python")
    matrix = np.array([0.8, -0.6, 0.6, 0.8], "float32")
    addons = augment.turn_and_cut(IMAGE[None], matrix, PATCH)
    monkeypatch.setattr(augment, "_import_addons", lambda: None)
    np.testing.assert_array_equal(augment.turn_and_cut(IMAGE[None], matrix, PATCH), addons)


def test_channels_are_permuted_all_six_ways():
    found = {
        tuple(int(c) for c in augment.shuffle_channels(np.arange(3)[None], seed)[0])
        for seed in seeds(60)
    }
    assert len(found) == 6


def test_saturation_is_hsvs_times_a_number_between_a_half_and_one_and_a_half():
    factors = []
    for seed in seeds(30):
        before = IMAGE[:1, :1] * 0.2 + [0.3, 0.4, 0.5]
        after = augment.change_saturation(before.astype("float32"), seed)
        h, s, v = colorsys.rgb_to_hsv(*before[0, 0])
        h2, s2, v2 = colorsys.rgb_to_hsv(*np.asarray(after)[0, 0])
        assert (h2, v2) == pytest.approx((h, v), abs=1e-4)
        factors.append(s2 / s)
    assert 0.5 <= min(factors) < 0.7 and 1.3 < max(factors) <= 1.5


def test_noise_has_a_level_of_its_own_for_each_patch():
    levels = [
        np.std(augment.add_noise(np.zeros((64, 64, 3), "float32"), seed, 2 / 255))
        for seed in seeds(300)
    ]
    # the mean of |N(0, s)| is s sqrt(2 / pi)
    assert np.mean(levels) == pytest.approx(2 / 255 * np.sqrt(2 / np.pi), rel=0.15)


def test_an_identical_pair_stays_identical():
    for seed in seeds(20):
        blurred, sharp = augment.augment(pair_of(IMAGE), seed, PLAIN)
        np.testing.assert_array_equal(blurred, sharp)


def test_noise_reaches_the_blurred_half_only():
    pair, seed = pair_of(IMAGE * 0.5 + 0.25), seeds(1)[0]
    clean = augment.augment(pair, seed, PLAIN)
    noisy = augment.augment(pair, seed, dataclasses.replace(PLAIN, noise_stddev=0.05))
    np.testing.assert_array_equal(noisy[1], clean[1])
    assert np.std(noisy[0] - clean[0]) > 1e-3


def test_a_share_of_the_patches_is_sharp_already():
    pair = np.stack([np.zeros_like(IMAGE), IMAGE * 255]).astype("uint8")
    settings = dataclasses.replace(PLAIN, identity_fraction=0.3)
    same = [np.array_equal(*augment.augment(pair, seed, settings)) for seed in seeds(200)]
    assert np.mean(same) == pytest.approx(0.3, abs=0.1)  # three standard deviations


def test_patches_stay_between_0_and_1_and_follow_from_their_seed():
    settings = dataclasses.replace(PLAIN, noise_stddev=0.5)
    one, again, other = (
        np.stack(augment.augment(pair_of(IMAGE), seed, settings))
        for seed in (seeds(1)[0], seeds(1)[0], seeds(2)[1])
    )
    assert one.min() >= 0 and one.max() <= 1
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
