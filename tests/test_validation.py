"""Validation scores what `evaluate` does, of pictures of any size, tile by tile."""

import numpy as np
import pytest
from test_gan import small_gan
from trainings import write_pairs

from tf_deblur.errors import UserError
from tf_deblur.models import networks
from tf_deblur.pictures import arrays
from tf_deblur.scoring import metrics
from tf_deblur.training import sources, team, validation
from tf_deblur.training.patches import PatchSettings

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


def test_what_is_trained_on_is_not_validated_on_and_of_others_all_is(
    pairs, picture, tmp_path, capsys
):
    write_pairs(tmp_path / "others", picture, height=44)
    folders = str(tmp_path / "prepared"), str(pairs / "pictures")
    small = PatchSettings(patch_size=16)
    trained = sources.open_sources("image_pairs", *folders, small, team.Team("one_device"))
    own, same = "image_pairs", f"image_pairs@{pairs / 'pictures'}/"
    other = f"image_pairs@{tmp_path / 'others'}"
    found = validation.open_validations([other, own, same], trained, *folders, 16)
    assert [len(one) for one in found] == [4, 2, 2]
    assert f"best.safetensors: by 4 of those of {other}\n" in capsys.readouterr().out
    [first] = validation.open_validations([], trained, *folders, 1)
    assert first.name == own and len(first) == 1
    with pytest.raises(UserError, match="holiday: no such data set"):
        validation.open_validations(["holiday"], trained, *folders, 16)
