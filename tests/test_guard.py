import numpy as np
import pytest

from tf_deblur.pictures import arrays, photographs
from tf_deblur.restoring import guard


def test_equal_pictures_pass_and_are_returned_as_they_are(picture):
    blurred, restored = picture(130, 200), picture(130, 200)
    result, share = guard.check(blurred, restored)
    assert result is restored and share == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_block_that_went_dark_is_given_back_and_what_is_far_is_not(picture, dtype):
    blurred = arrays.from_float(arrays.to_float(picture(400, 460)), dtype)
    restored = arrays.from_float(arrays.to_float(blurred) * 0.99, dtype)
    restored[192:256, 192:256] = 0
    result, share = guard.check(blurred, restored)
    near = np.zeros(blurred.shape[:2], bool)
    near[64:384, 64:384] = True  # averages reach into the neighbours, and blending into theirs
    np.testing.assert_array_equal(result[192:256, 192:256], blurred[192:256, 192:256])
    np.testing.assert_array_equal(result[~near], restored[~near])
    assert result.dtype == dtype and 1 / 56 <= share <= 9 / 56  # of 7 × 8 blocks


def test_a_mirrored_picture_is_kept_mirrored(monkeypatch):
    bad = np.zeros((5, 6), bool)
    bad[2, 2] = bad[3, 4] = True
    size = [guard.BLOCK * blocks for blocks in bad.shape]
    blurred, restored = np.zeros((*size, 3), np.float32), np.ones((*size, 3), np.float32)
    results = []
    for turn in (lambda x: x, lambda x: x[::-1, ::-1]):
        monkeypatch.setattr(guard, "find_failing_blocks", lambda *_, turn=turn: turn(bad))
        results.append(turn(guard.check(blurred, restored)[0]))
    np.testing.assert_allclose(*results, atol=1e-6)


@pytest.mark.parametrize("size", [(320, 384), (290, 350)])
def test_what_is_kept_goes_over_into_the_rest_without_a_step(monkeypatch, size):
    bad = np.zeros([-(-length // guard.BLOCK) for length in size], bool)
    bad[2, 2] = bad[3, 4] = bad[0, 5] = (
        True  # one alone, one at a corner of another's ramp, an edge
    )
    monkeypatch.setattr(guard, "find_failing_blocks", lambda *_: bad)
    blurred, restored = np.zeros((*size, 3), np.float32), np.ones((*size, 3), np.float32)
    result, share = guard.check(blurred, restored)
    assert share == 3 / bad.size
    for row, column in np.argwhere(bad):
        top, left = row * guard.BLOCK, column * guard.BLOCK
        assert (result[top : top + guard.BLOCK, left : left + guard.BLOCK] == 0).all()
    steps = [np.abs(np.diff(result, axis=axis)).max() for axis in (0, 1)]
    assert max(steps) <= 1 / guard.BLOCK + 1e-6  # a ramp of a block's width has such steps
    assert (result[:128, :64] == 1).all()  # more than a block away


def test_nothing_that_is_no_number_is_blended_in(picture):
    blurred = arrays.to_float(picture(260, 330))
    restored = blurred * np.float32(0.99)
    restored[150, 200] = np.nan
    result, share = guard.check(blurred, restored)
    assert np.isfinite(result).all() and 0 < share < 1


def test_numbers_that_are_none_are_all_given_back(picture):
    blurred = arrays.to_float(picture(70, 90))
    result, share = guard.check(blurred, np.full_like(blurred, np.nan))
    np.testing.assert_array_equal(result, blurred)
    assert share == 1


def test_a_saturated_mosaic_of_the_right_brightness_fails():
    grey = np.full((256, 256, 3), 128, np.uint8)
    mosaic = np.indices((256, 256)).sum(0)[..., None].repeat(3, 2) % 2 * 255
    assert guard.check(grey, mosaic.astype(np.uint8))[1] == 1


def test_a_shifted_output_fails_on_real_photographs_and_the_sharp_frame_passes(shared):
    frames = sorted((shared / "data/GOPRO_Large/train").glob("*/blur/*.png"))
    assert frames
    for path in frames:
        blurred, sharp = (
            photographs.read(p) for p in (path, path.parents[1] / "sharp" / path.name)
        )
        assert guard.check(blurred, sharp)[1] == 0, path
        assert guard.check(blurred, np.roll(blurred, 32, axis=1))[1] > 0.1, path
