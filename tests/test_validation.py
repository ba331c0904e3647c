"""Validation scores what `evaluate` does, of pictures of any size, tile by tile."""

import numpy as np
import pytest
from test_gan import small_gan

from tf_deblur.models import networks
from tf_deblur.pictures import arrays
from tf_deblur.scoring import metrics
from tf_deblur.training import validation

FLAT = np.full((30, 40, 3), 100, np.uint8)


@pytest.mark.parametrize("level, expected", [(100, np.inf), (101, 48.1308)])
def test_one_grey_level_is_48_13_db(level, expected):
    psnr, ssim = validation.compare(np.full_like(FLAT, level), FLAT)
    assert psnr == pytest.approx(expected, abs=1e-4) and ssim == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("most", [40, 45 * 40, 10**6])
def test_strips_are_scored_as_the_whole(most, picture, monkeypatch):
    monkeypatch.setattr(validation, "MOST_PIXELS", most)
    pair = picture(100, 40), picture(100, 40, seed=1)
    whole = [score(*pair, data_range=255) for score in (metrics.psnr, metrics.ssim)]
    assert validation.compare(*pair) == pytest.approx(whole)


def test_a_picture_below_the_window_has_no_ssim():
    psnr, ssim = validation.compare(FLAT[:9], FLAT[:9] + 1)
    assert psnr == pytest.approx(48.1308, abs=1e-4) and np.isnan(ssim)


def test_tiles_are_restored_as_the_whole(picture, monkeypatch):
    monkeypatch.setattr(validation, "MOST_PIXELS", 900)
    gan, blurred = small_gan(), picture(61, 90)
    whole = networks.restore(gan.average, arrays.to_float(blurred)[None])[0]
    np.testing.assert_allclose(validation.restore(gan, blurred), whole, atol=1e-6)


def test_pairs_are_scored_before_and_after(picture):
    pairs = [(picture(40, 48, seed=n), picture(40, 48, seed=n + 9)) for n in range(5)]
    made = [lambda pair=pair: pair for pair in pairs]
    one = validation.Validation("these", made, 3, "facts")
    scores, sheet = one.score(small_gan())
    blurred = [metrics.ssim(*pairs[n], data_range=255) for n in (0, 2, 4)]
    assert scores["blurred_ssim"] == pytest.approx(np.mean(blurred)) and scores["psnr"] > 0
    assert len(one) == 3 and sheet.shape == (3 * 40, 3 * 48, 3)
