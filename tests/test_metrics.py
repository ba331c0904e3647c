import numpy as np
import pytest
from scipy import ndimage
from skimage import metrics as skimage_metrics

from tf_deblur.metrics import psnr, ssim, ssim_matlab_rgb


@pytest.fixture
def pair():
    """A picture with edges and texture, and a blurred, noisy copy: uint8."""
    rng = np.random.default_rng(0)
    sharp = np.kron(rng.integers(0, 256, (9, 12, 3)), np.ones((8, 8, 1))) + rng.normal(
        0, 12, (72, 96, 3)
    )
    blurred = ndimage.gaussian_filter(sharp, (1.2, 1.2, 0)) + rng.normal(0, 3, sharp.shape)
    return [np.clip(np.rint(x), 0, 255).astype(np.uint8) for x in (blurred, sharp)]


def grey(level):
    return np.full((16, 16, 3), level, np.uint8)


def test_one_grey_level_apart_is_48_13_db():
    assert psnr(grey(100), grey(101), data_range=255) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(grey(101), grey(100), data_range=255) == pytest.approx(48.1308, abs=1e-4)


def test_equal_pictures_score_infinity_and_one(pair):
    sharp = pair[1]
    assert psnr(sharp, sharp, data_range=255) == float("inf")
    assert ssim(sharp, sharp, data_range=255) == pytest.approx(1, abs=1e-12)
    assert ssim_matlab_rgb(sharp, sharp, data_range=255) == pytest.approx(1, abs=1e-12)


def agrees_with_skimage(blurred, sharp):
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    theirs = skimage_metrics.structural_similarity(
        blurred, sharp, data_range=255, channel_axis=2, **options
    )
    assert ssim(blurred, sharp, data_range=255) == pytest.approx(theirs, abs=1e-6)
    theirs = skimage_metrics.peak_signal_noise_ratio(sharp, blurred, data_range=255)
    assert psnr(blurred, sharp, data_range=255) == pytest.approx(theirs, abs=1e-6)


def direct_matlab_rgb(x, y):
    """One 11×11×11 convolution with replicated borders, straight from the definition."""
    axis = np.exp(-(np.arange(-5.0, 6) ** 2) / 4.5)
    window = axis[:, None, None] * axis[None, :, None] * axis[None, None, :]
    window /= window.sum()
    x, y = x.astype(float), y.astype(float)
    mx, my, xx, yy, xy = (
        ndimage.convolve(z, window, mode="nearest") for z in (x, y, x * x, y * y, x * y)
    )
    c1, c2 = 2.55**2, 7.65**2
    top = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
    return np.mean(top / ((mx**2 + my**2 + c1) * (xx - mx**2 + yy - my**2 + c2)))


def test_psnr_and_ssim_agree_with_scikit_image(pair):
    agrees_with_skimage(*pair)


def test_ssim_matlab_rgb_agrees_with_a_direct_3d_convolution(pair):
    ours = ssim_matlab_rgb(*pair, data_range=255)
    assert ours == pytest.approx(direct_matlab_rgb(*pair), abs=1e-6)
    assert ours != pytest.approx(ssim(*pair, data_range=255), abs=1e-3)


def test_metrics_agree_with_others_on_a_real_frame(shared):
    from tf_deblur import images

    folder = shared / "data/GOPRO_Large/test/GOPR0384_11_00"
    blurred, sharp = (images.read(folder / kind / "000001.png") for kind in ("blur", "sharp"))
    agrees_with_skimage(blurred, sharp)
    crop = np.s_[200:360, 500:740]  # the direct convolution is slow
    assert ssim_matlab_rgb(blurred[crop], sharp[crop], data_range=255) == pytest.approx(
        direct_matlab_rgb(blurred[crop], sharp[crop]), abs=1e-6
    )
    assert psnr(blurred, sharp, data_range=255) == pytest.approx(24.05, abs=0.005)  # its README's
    assert ssim(blurred, sharp, data_range=255) == pytest.approx(0.7170, abs=5e-5)
    assert ssim_matlab_rgb(blurred, sharp, data_range=255) == pytest.approx(0.7963, abs=5e-5)


def test_green_is_the_middle_channel_of_matlab_ssim(pair):
    blurred, sharp = pair
    once = ssim_matlab_rgb(blurred, sharp, data_range=255)
    bgr = ssim_matlab_rgb(blurred[..., ::-1], sharp[..., ::-1], data_range=255)
    grb = ssim_matlab_rgb(blurred[..., [1, 0, 2]], sharp[..., [1, 0, 2]], data_range=255)
    assert bgr == pytest.approx(once, abs=1e-12) and grb != pytest.approx(once, abs=1e-6)


def test_wrong_shapes_are_refused():
    for metric in (psnr, ssim, ssim_matlab_rgb):
        with pytest.raises(ValueError, match="shapes"):
            metric(np.zeros((16, 16, 3)), np.zeros((16, 17, 3)), data_range=255)
    with pytest.raises(ValueError, match="11"):
        ssim(np.zeros((16, 10, 3)), np.zeros((16, 10, 3)), data_range=255)
