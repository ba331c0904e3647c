import cv2
import numpy as np
import pytest

from tf_deblur.blurring import motion
from tf_deblur.errors import UserError
from tf_deblur.pictures import arrays

SIZE, FOCAL = (120, 160), 200


def camera(seed, extent, **options):
    return motion.draw_camera_motion(np.random.default_rng(seed), extent, FOCAL, **options)


def thing(seed, extent):
    return motion.draw_object_motion(np.random.default_rng(seed), extent, FOCAL)


def still(points):
    return np.tile(np.eye(3), (points, 1, 1))


def places(path):
    """Where points all over the picture go: (poses, points, 2), and where they are."""
    across, down = np.meshgrid(*(np.linspace(-n / 2, n / 2, 9) for n in SIZE[::-1]))
    points = np.stack([across.ravel(), down.ravel(), np.ones(81)])
    moved = path @ points
    return (moved[:, :2] / moved[:, 2:]).transpose(0, 2, 1), points[:2].T


@pytest.mark.parametrize("seed", range(4))
def test_a_path_that_only_shifts_is_a_convolution_with_its_kernel(picture, seed):
    sharp = cv2.GaussianBlur(arrays.to_float(picture(*SIZE)), None, 1.0)
    (path,), shares = motion.trace_paths([thing(seed, 12)], FOCAL, SIZE)
    kernel = motion.draw_kernel(path, shares)
    assert kernel.sum() == pytest.approx(1) and len(kernel) % 2 == 1
    convolved = cv2.filter2D(sharp, -1, kernel[::-1, ::-1])
    inner = slice(14, -14), slice(14, -14)
    blurred = motion.blur(sharp, path, shares, linear=False)
    assert np.abs(blurred - convolved)[inner].max() < 1e-3
    assert np.abs(blurred - sharp)[inner].max() > 0.1


def test_a_kernel_is_where_the_light_of_a_point_goes():
    sharp = np.zeros((*SIZE, 3), np.float32)
    sharp[30, 110] = 1  # 30.5 pixels right of the centre, 29.5 above it
    (path,), shares = motion.trace_paths([camera(3, 16)], FOCAL, SIZE)
    kernel = motion.draw_kernel(path, shares, (30.5, -29.5))
    reach = len(kernel) // 2
    seen = motion.blur(sharp, path, shares, linear=False)[..., 0]
    around = seen[30 - reach : 31 + reach, 110 - reach : 111 + reach]
    assert np.abs(around - kernel).max() < 0.01 * len(shares) ** 0.5 * kernel.max()
    assert seen.sum() == pytest.approx(around.sum(), rel=1e-5)


@pytest.mark.parametrize("extent", [0.3, 2, 16, 46])
def test_no_pixel_steps_farther_than_half_a_pixel(extent):
    for seed in range(5):
        motions = [camera(seed, extent), thing(seed, extent)]
        both, shares = motion.trace_paths(motions, FOCAL, SIZE)
        for path in both:
            steps = np.linalg.norm(np.diff(places(path)[0], axis=0), axis=-1)
            assert len(path) == len(shares) and steps.max() <= 0.5
        assert shares.min() > 0 and shares.sum() == pytest.approx(1)
        coarse, _ = motion.trace_paths(motions, FOCAL, SIZE, spacing=2)
        assert len(coarse[0]) == pytest.approx(len(both[0]) / 4, abs=2)


@pytest.mark.parametrize("extent", [2, 16, 46])
def test_the_centre_moves_in_a_box_of_the_extent_asked_for(extent):
    for seed in range(5):
        for make in (motion.draw_camera_motion, motion.draw_object_motion):
            drawn = make(np.random.default_rng(seed), extent, 900)
            (path,), _ = motion.trace_paths([drawn], 900, SIZE)
            centre = path[:, :2, 2] / path[:, 2:, 2]
            assert np.ptp(centre, axis=0).max() == pytest.approx(extent, rel=0.03, abs=0.25)


def test_the_sharp_picture_is_the_mean_pose_or_the_middle_one():
    for seed in range(5):
        motions = [camera(seed, 16), thing(seed, 16)]
        both, shares = motion.trace_paths(motions, FOCAL, SIZE)
        for path in both:
            moved, here = places(path)
            assert np.abs(np.tensordot(shares, moved, 1) - here).max() < 0.3
        both, shares = motion.trace_paths(motions, FOCAL, SIZE, middle=True)
        halfway = np.searchsorted(np.cumsum(shares), 0.5)
        for path in both:
            moved, here = places(path)
            assert np.linalg.norm(moved[halfway] - here, axis=-1).max() <= 0.5


def test_where_a_path_rests_its_light_gathers():
    rests = np.zeros((301, 6))
    rests[:, 3] = np.clip(np.arange(301) / 100 - 2, 0, 1) * 10 / FOCAL  # two thirds at rest
    (path,), shares = motion.trace_paths([rests], FOCAL, SIZE, middle=True)
    assert motion.draw_kernel(path, shares).max() == pytest.approx(2 / 3, abs=0.02)


def test_every_axis_moves_the_picture_in_its_own_way():
    turn = 0.02
    one = np.diag([turn] * 6)
    down, right, roll, shift_right, shift_down, nearer = motion.compute_homographies(one, FOCAL)
    point = np.array([30.0, 20.0, 1.0])

    def move(pose):
        x, y, z = pose @ point
        return x / z, y / z

    tangent = FOCAL * np.tan(turn)
    assert down[:2, 2] / down[2, 2] == pytest.approx([0, -tangent])
    assert right[:2, 2] / right[2, 2] == pytest.approx([tangent, 0])
    angle = np.arctan2(30, FOCAL) + turn  # a turn carries a ray to the ray beside it
    assert move(right)[0] == pytest.approx(FOCAL * np.tan(angle))
    cos, sin = np.cos(turn), np.sin(turn)
    assert move(roll) == pytest.approx((30 * cos - 20 * sin, 30 * sin + 20 * cos))
    assert move(shift_right) == pytest.approx((30 + FOCAL * turn, 20))
    assert move(shift_down) == pytest.approx((30, 20 + FOCAL * turn))
    assert move(nearer) == pytest.approx((30 / 1.02, 20 / 1.02))


def test_a_camera_moves_along_all_six_axes_and_a_thing_only_shifts():
    assert (np.ptp(camera(0, 16), axis=0) > 0).all()
    assert (np.ptp(thing(0, 16), axis=0) > 0).tolist() == [False] * 3 + [True] * 2 + [False]


def test_paths_follow_from_the_seed():
    np.testing.assert_array_equal(camera(5, 16), camera(5, 16))
    assert np.abs(camera(5, 16) - camera(6, 16)).max() * FOCAL > 1
    np.testing.assert_array_equal(thing(5, 16), thing(5, 16))


def test_rough_paths_are_longer():
    def length(roughness):
        paths = [camera(seed, 16, roughness=roughness)[:, :2] for seed in range(40)]
        return sum(np.linalg.norm(np.diff(path, axis=0), axis=1).sum() for path in paths)

    assert length(0) < length(0.4) < length(4)


def test_a_region_moves_and_the_rest_does_not(picture):
    sharp = arrays.to_float(picture(*SIZE))
    (path,), shares = motion.trace_paths([thing(1, 10)], FOCAL, SIZE)
    region = np.zeros(SIZE, np.float32)
    region[:, :80] = 1
    blurred = motion.blur(sharp, still(len(path)), shares, (region, path))
    alone = motion.blur(sharp, path, shares)
    np.testing.assert_allclose(blurred[:, :68], alone[:, :68], atol=1e-3)
    np.testing.assert_allclose(blurred[:, 92:], sharp[:, 92:], atol=1e-3)
    assert np.abs(blurred - sharp)[:, :68].mean() > 0.02


def test_a_region_is_soft_edged_and_neither_empty_nor_everything():
    for seed in range(20):
        region = motion.draw_region(np.random.default_rng(seed), 480, 640)
        assert region.shape == (480, 640) and region.dtype == np.float32
        assert 0.02 < region.mean() < 0.9 and (region.min(), region.max()) == (0, 1)
        assert np.abs(np.diff(region, axis=1)).max() < 0.8


def test_light_is_averaged_or_encoded_values_are():
    edge = np.zeros((*SIZE, 3), np.float32)
    edge[:, 80:] = 1
    path = still(2)
    path[1, 0, 2] = 10  # half the exposure 10 pixels to the right: a band of both
    for linear, grey in ((True, 0.5 ** (1 / 2.2)), (False, 0.5)):
        blurred = motion.blur(edge, path, linear=linear)
        np.testing.assert_allclose(blurred[:, 72:78], grey, atol=1e-6)
        np.testing.assert_array_equal(blurred[:, :68], 0)
        np.testing.assert_allclose(blurred[:, 82:], 1, atol=1e-6)


def test_beyond_the_margin_no_pixel_saw_the_border(picture):
    small = arrays.to_float(picture(*SIZE))
    large = cv2.copyMakeBorder(small, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=(1, 0, 1))
    for seed in range(4):
        (path,), shares = motion.trace_paths([camera(seed, 20)], FOCAL, SIZE)
        edge = motion.measure_margin(path, size=SIZE)
        assert 8 < edge < 40
        blurred, other = motion.blur(small, path, shares), motion.blur(large, path, shares)
        inner, deeper = (slice(edge + more, -edge - more) for more in (0, 40))
        np.testing.assert_allclose(blurred[inner, inner], other[deeper, deeper], atol=1e-5)


def test_noise_has_the_deviation_asked_for():
    grey = np.full((100, 100, 3), 0.5, np.float32)
    noise = motion.add_noise(np.random.default_rng(0), grey, 0.02) - grey
    assert noise.dtype == np.float32
    assert (noise.mean(), noise.std()) == pytest.approx((0, 0.02), abs=5e-4)


@pytest.fixture(scope="module")
def synthetic():
    from tf_deblur import errors

    with errors.quiet():
        from tf_deblur.datasets.synthetic_blur import synthetic_blur_dataset_builder
    return synthetic_blur_dataset_builder


def test_a_pair_follows_from_the_seed_and_the_fields_alone(synthetic, picture):
    photograph = picture(200, 300)
    config = synthetic.BlurConfig(name="mixed", extent=(4, 8), side=96)
    pairs = [synthetic.blur_pair(photograph, config, np.random.default_rng(s)) for s in (1, 1, 2)]
    for blurred, sharp in pairs:
        assert blurred.shape == sharp.shape and max(sharp.shape) <= 96
        assert blurred.dtype == sharp.dtype == np.uint8
        error = np.abs(blurred.astype(int) - sharp).mean()
        assert 2 < error < 40
    np.testing.assert_array_equal(pairs[0][0], pairs[1][0])
    assert pairs[0][0].shape != pairs[2][0].shape or (pairs[0][0] != pairs[2][0]).any()


def test_the_camera_of_a_pair_follows_a_recording_where_the_share_says(synthetic, picture):
    recording = np.zeros((50, 6))
    recording[:, 1] = np.linspace(0, 0.01, 50)  # to the right, so rows stay rows
    stripes = np.repeat(picture(200, 1), 300, axis=1)
    fields = {"extent": (8, 8), "moving": 0, "noise": 0, "side": 96, "focal": (9, 9)}
    for recorded in (1, 0):
        config = synthetic.BlurConfig(name="mixed", recorded=recorded, **fields)
        rng = np.random.default_rng(4)
        blurred, sharp = synthetic.blur_pair(stripes, config, rng, [recording])
        error = np.abs(blurred.astype(int) - sharp).mean()
        assert error < 0.5 if recorded else error > 5


@pytest.mark.parametrize(
    "field",
    [
        {"extent": (9, 3)},
        {"focal": (0, 1)},
        {"roughness": -1},
        {"noise": 2},
        {"recorded": 1.5},
        {"middle": -0.1},
    ],
)
def test_a_field_out_of_its_range_is_named(synthetic, field):
    with pytest.raises(UserError, match=f"{next(iter(field))}="):
        synthetic.BlurConfig(name="mixed", **field)
