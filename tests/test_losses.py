"""Equations 2 to 5 and the spectral loss, by hand."""

import numpy as np
import pytest

from tf_deblur.models import losses

RNG = np.random.default_rng(0)
RESTORED, SHARP = RNG.random((2, 4, 6, 6, 3), "float32")
LOGITS_SHARP, LOGITS_RESTORED = RNG.normal(size=(2, 5, 1)).astype("float32")


def probability(logit):
    return 1 / (1 + np.exp(-logit.astype("float64")))


def test_content_is_the_mean_squared_difference():
    total = sum((a - b) ** 2 for a, b in zip(RESTORED.ravel(), SHARP.ravel()))
    assert float(losses.mean_square(RESTORED, SHARP)) == pytest.approx(
        total / RESTORED.size, rel=1e-5
    )


def test_charbonnier_is_a_smooth_absolute_difference():
    expected = np.sqrt((RESTORED - SHARP) ** 2 + 1e-6).mean()
    assert float(losses.charbonnier(RESTORED, SHARP)) == pytest.approx(expected, rel=1e-5)


def test_spectral_is_the_mean_difference_of_numpys_unitary_spectra():
    restored, sharp = RESTORED[:, :, :5], SHARP[:, :, :5]  # an odd width, another height
    waves = np.fft.rfft2(restored, axes=(1, 2), norm="ortho")
    waves -= np.fft.rfft2(sharp, axes=(1, 2), norm="ortho")
    expected = np.mean([np.abs(waves.real), np.abs(waves.imag)])
    assert float(losses.spectral(restored, sharp)) == pytest.approx(expected, rel=1e-5)


def test_adversarial_is_minus_log2_of_the_probability():
    expected = -np.log2(probability(LOGITS_RESTORED)).mean()
    assert float(losses.adversarial(LOGITS_RESTORED)) == pytest.approx(expected, rel=1e-5)


def test_discriminator_is_minus_both_log2():
    sharp, restored = probability(LOGITS_SHARP), probability(LOGITS_RESTORED)
    expected = -np.log2(sharp).mean() - np.log2(1 - restored).mean()
    assert float(losses.discriminator(LOGITS_SHARP, LOGITS_RESTORED)) == pytest.approx(
        expected, rel=1e-5
    )


def test_an_undecided_discriminator_costs_one_bit_and_two():
    undecided = np.zeros((3, 1), "float32")
    assert float(losses.adversarial(undecided)) == pytest.approx(1)
    assert float(losses.discriminator(undecided, undecided)) == pytest.approx(2)


def test_a_confident_discriminator_costs_its_logit_and_no_infinity():
    sure = np.full((3, 1), 2000, "float32")
    assert float(losses.adversarial(-sure)) == pytest.approx(2000 / np.log(2))
    assert float(losses.discriminator(-sure, sure)) == pytest.approx(4000 / np.log(2))
