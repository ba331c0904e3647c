import numpy as np
import pytest

from tf_deblur.pictures import arrays, photographs
from tf_deblur.restoring import guard


def test_equal_pictures_pass_and_are_returned_as_they_are(picture):
    blurred, restored = picture(130, 200), picture(130, 200)
    result, share = guard.keep_sane(blurred, restored)
    assert result is restored and share == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_block_that_went_dark_is_given_back_and_no_other(picture, dtype):
    blurred = arrays.from_float(arrays.to_float(picture(200, 260)), dtype)
    restored = arrays.from_float(arrays.to_float(blurred) * 0.99, dtype)
    restored[64:128, 128:192] = 0
    result, share = guard.keep_sane(blurred, restored)
    near = np.zeros(blurred.shape[:2], bool)
    near[:192, 64:256] = True  # averages reach into the neighbours
    np.testing.assert_array_equal(result[64:128, 128:192], blurred[64:128, 128:192])
    np.testing.assert_array_equal(result[~near], restored[~near])
    assert 1 / 20 <= share <= 9 / 20  # of 4 × 5 blocks


def test_numbers_that_are_none_are_all_given_back(picture):
    blurred = arrays.to_float(picture(70, 90))
    result, share = guard.keep_sane(blurred, np.full_like(blurred, np.nan))
    np.testing.assert_array_equal(result, blurred)
    assert share == 1


def test_a_saturated_mosaic_of_the_right_brightness_fails():
    grey = np.full((256, 256, 3), 128, np.uint8)
    mosaic = np.indices((256, 256)).sum(0)[..., None].repeat(3, 2) % 2 * 255
    assert guard.keep_sane(grey, mosaic.astype(np.uint8))[1] == 1


def test_a_shifted_output_fails_on_real_photographs_and_the_sharp_frame_passes(shared):
    frames = sorted((shared / "data/GOPRO_Large/train").glob("*/blur/*.png"))
    assert frames
    for path in frames:
        blurred, sharp = (
            photographs.read(p) for p in (path, path.parents[1] / "sharp" / path.name)
        )
        assert guard.keep_sane(blurred, sharp)[1] == 0, path
        assert guard.keep_sane(blurred, np.roll(blurred, 32, axis=1))[1] > 0.1, path
