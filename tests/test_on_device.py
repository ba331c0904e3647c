import cv2
import numpy as np
import pytest
import tensorflow as tf

from tf_deblur.blurring import motion, on_device
from tf_deblur.pictures import arrays

SIDE, INNER, FOCAL = 160, 64, 200.0


def draw(seed, extent):
    rng = np.random.default_rng(seed)
    makers = motion.draw_camera_motion, motion.draw_object_motion
    return [make(rng, extent, FOCAL) for make in makers]


def stack(motions):
    return [tf.constant(one[None], tf.float32) for one in motions]


def paths(motions, middle=False, step=0.5, frames=0):
    told = tf.constant([FOCAL]), SIDE, tf.constant([middle]), tf.constant([frames]), step
    return on_device.trace_paths(stack(motions), *told)


def corners(path):
    points = np.array([[x, y, 1] for x in (-80, 80) for y in (-80, 80)]).T
    moved = path @ points
    return moved[:, :2] / moved[:, 2:]


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_blur_is_that_of_the_processor(picture, seed, linear):
    rng = np.random.default_rng(seed)
    sharp = arrays.to_float(picture(SIDE, SIDE, seed))
    (camera, thing), shares = motion.trace_paths(draw(seed, 24), FOCAL, (SIDE, SIDE))
    region = motion.draw_region(rng, SIDE, SIDE)
    wanted = motion.blur(sharp, camera, shares, (region, thing), linear)
    light = sharp**motion.GAMMA if linear else sharp
    told = (tf.constant(x[None], tf.float32) for x in (light, camera, shares))
    moving = tf.constant(region[None, ..., None]), tf.constant(thing[None], tf.float32)
    blurred = on_device.blur(*told, INNER, moving)[0].numpy()
    blurred = np.clip(blurred, 0, 1) ** (1 / motion.GAMMA if linear else 1)
    edge = (SIDE - INNER) // 2
    inner = slice(edge, edge + INNER)
    assert np.abs(blurred - wanted[inner, inner]).max() < 1 / 255
    assert np.abs(sharp - wanted)[inner, inner].max() > 0.1


@pytest.mark.parametrize("middle", [True, False])
@pytest.mark.parametrize("extent", [0.5, 8, 46])
def test_paths_are_those_of_the_processor(extent, middle):
    motions = draw(1, extent)
    wanted, wanted_shares = motion.trace_paths(motions, FOCAL, (SIDE, SIDE), middle)
    found, shares = paths(motions, middle)
    assert found[0].shape[1] == len(wanted[0])
    for ours, theirs in zip(found, wanted):
        assert np.abs(corners(ours[0].numpy()) - corners(theirs)).max() < 0.02
    assert np.abs(shares[0].numpy() - wanted_shares).max() < 1e-4


def test_light_of_seven_moments_comes_from_seven_places():
    (path, _), shares = paths(draw(2, 30), frames=7)
    places, which = np.unique(path[0].numpy().round(6), axis=0, return_inverse=True)
    weights = np.bincount(which.ravel(), shares[0].numpy())
    assert len(places) == 7 and weights == pytest.approx(1 / 7)


def test_a_walk_that_nothing_pushes_slows_down_evenly_in_its_box():
    extents = tf.constant([1.0, 8.0, 46.0])
    walk = on_device.draw_walk(tf.constant([3, 4], tf.int64), extents, 0.0).numpy()
    assert np.ptp(walk, axis=1).max(-1) == pytest.approx(extents.numpy(), rel=1e-5)
    speed = np.linalg.norm(np.diff(walk, axis=1), axis=-1)
    assert speed[:, 1:100] / speed[:, :99] == pytest.approx(0.99, abs=1e-3)


def test_motions_move_the_centre_in_a_box_of_the_extent():
    extents, focal = tf.constant([2.0, 20.0]), tf.constant([300.0, 900.0])
    for made in (on_device.draw_camera_motion, on_device.draw_object_motion):
        motions = made(tf.constant([5, 6], tf.int64), extents, focal, 0.4)
        centres = on_device.compute_homographies(motions, focal)[..., :2, 2].numpy()
        # the centre also comes nearer, by at most some hundredths; see the processor's
        assert np.ptp(centres, axis=1).max(-1) == pytest.approx(extents.numpy(), rel=0.05)


def test_a_grid_is_enlarged_as_opencv_does_it():
    coarse = np.random.default_rng(0).normal(size=(2, 5, 5)).astype("float32")
    found = on_device.enlarge(tf.constant(coarse), 100, 20, 35, 48)
    for ours, grid in zip(found.numpy(), coarse):
        whole = cv2.resize(grid, (100, 100), interpolation=cv2.INTER_CUBIC)
        assert np.abs(ours - whole[20:68, 35:83]).max() < 1e-5
