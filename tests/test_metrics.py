import numpy as np
import pytest
from scipy import ndimage
from skimage import metrics as skimage_metrics

from tf_deblur.scoring.metrics import (
    LOW_PASS,
    compute_luma,
    ms_ssim,
    psnr,
    score_y,
    ssim,
    ssim_matlab_rgb,
)


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


def test_a_picture_of_one_window_has_a_score_and_a_smaller_one_none(pair):
    blurred, sharp = (image[:11, :11] for image in pair)
    agrees_with_skimage(blurred, sharp)
    with pytest.raises(ValueError, match="side of 10"):
        ssim(blurred[:10], sharp[:10], data_range=255)


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
    from tf_deblur.pictures import photographs

    folder = shared / "data/GOPRO_Large/test/GOPR0384_11_00"
    blurred, sharp = (photographs.read(folder / kind / "000001.png") for kind in ("blur", "sharp"))
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


def test_luma_is_matlabs():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    expected = [16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966]
    assert compute_luma(colours)[0] == pytest.approx(expected)


def test_y_spans_219_levels_but_its_peak_counts_255():
    scores = score_y(grey(100), grey(101))
    gain = 20 * np.log10(255 / 219)  # 1.32 dB
    assert scores["psnr_y"] == pytest.approx(48.1308 + gain, abs=1e-4)


def skimage_grey(x, y, **options):
    return skimage_metrics.structural_similarity(
        x, y, gaussian_weights=True, use_sample_covariance=False, data_range=255, **options
    )


def test_y_ssim_agrees_with_scikit_image_in_whole_and_reduced_resolution(pair):
    for repeat, factor in ((1, 1), (6, 2), (9, 3)):  # the smaller side: 72, 432, 648
        blurred, sharp = (np.tile(image, (repeat, repeat, 1)) for image in pair)
        ours = score_y(blurred, sharp)
        x, y = compute_luma(blurred), compute_luma(sharp)
        assert ours["ssim_y"] == pytest.approx(skimage_grey(x, y), abs=1e-9)
        # an even window of MATLAB's begins at its pixel, an odd one is centred
        x, y = (
            ndimage.uniform_filter(image, factor, mode="reflect", origin=-((factor - 1) % 2))
            for image in (x, y)
        )
        if factor == 2:
            blocks = compute_luma(sharp).reshape(216, 2, 288, 2).mean((1, 3))
            np.testing.assert_allclose(y[::2, ::2], blocks)
        theirs = skimage_grey(x[::factor, ::factor], y[::factor, ::factor])
        assert ours["ssim_y_reduced"] == pytest.approx(theirs, abs=1e-9)


def test_low_pass_filter_is_half_of_the_9_7_factorisation():
    # Cohen, Daubechies and Feauveau: 1 + 4 y + 10 y² + 20 y³ with y = sin²(w/2) has one real
    # root; the pair of complex ones makes the nine taps, with cos⁴(w/2)
    roots = np.roots([20, 10, 4, 1])
    pair = np.real(np.poly(roots[np.abs(roots.imag) > 1e-9]))
    sine, cosine = np.array([-0.25, 0.5, -0.25]), np.array([0.25, 0.5, 0.25])
    squared = np.convolve(sine, sine)
    factor = pair[0] * squared + np.pad(pair[1] * sine, 1) + np.pad([pair[2]], 2)
    taps = np.convolve(np.convolve(cosine, cosine), factor)
    np.testing.assert_allclose(LOW_PASS, taps / taps.sum(), atol=1e-9)


def direct_ms_ssim(x, y):
    """Five scales from the definitions, with SciPy; scikit-image checks the first one's map."""
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    score = 1
    for scale in range(5):
        window = [ndimage.gaussian_filter(z, 1.5, radius=5) for z in (x, y, x * x, y * y, x * y)]
        mx, my, xx, yy, xy = (z[5:-5, 5:-5] for z in window)
        sx, sy, sxy = np.sqrt(xx - mx * mx), np.sqrt(yy - my * my), xy - mx * my
        c1, c2 = 2.55**2, 7.65**2
        luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
        contrast = (2 * sx * sy + c2) / (sx * sx + sy * sy + c2)
        structure = (2 * sxy + c2) / (2 * sx * sy + c2)
        if scale == 0:
            theirs = skimage_grey(x, y, full=True)[1][5:-5, 5:-5]
            np.testing.assert_allclose(luminance * contrast * structure, theirs, atol=1e-9)
        score *= contrast.mean() ** weights[scale] * structure.mean() ** weights[scale]
        last = luminance.mean() ** weights[scale]
        x, y = (
            ndimage.convolve(z, np.outer(LOW_PASS, LOW_PASS), mode="reflect")[::2, ::2]
            for z in (x, y)
        )
    return score * last


def test_ms_ssim_agrees_with_a_direct_computation(pair):
    blurred, sharp = (np.tile(image, (4, 3, 1))[..., 1].astype(float) for image in pair)
    assert ms_ssim(blurred, sharp) == pytest.approx(direct_ms_ssim(blurred, sharp), abs=1e-9)
    assert ms_ssim(sharp, sharp) == pytest.approx(1, abs=1e-12)


def test_ms_ssim_of_flat_pictures_is_the_coarsest_luminance():
    x, y = np.full((161, 161), 60.0), np.full((161, 161), 120.0)
    luminance = (2 * 60 * 120 + 2.55**2) / (60**2 + 120**2 + 2.55**2)
    assert ms_ssim(x, y) == pytest.approx(luminance**0.1333, abs=1e-6)


def test_ms_ssim_of_a_negative_is_zero(pair):
    sharp = np.tile(pair[1], (3, 2, 1))[..., 1].astype(float)
    assert ms_ssim(255 - sharp, sharp) == 0


def test_ms_ssim_needs_161_pixels():
    with pytest.raises(ValueError, match="160 pixels; five scales need 161"):
        ms_ssim(np.zeros((160, 200)), np.zeros((160, 200)))
