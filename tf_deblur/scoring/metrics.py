"""How near a restored picture is to the sharp one, in NumPy and OpenCV, float64.

Many different things are called SSIM; here are those that people publish.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from tf_deblur.opencv import cv2

RADIUS = 5  # the 11-pixel window of Wang et al. 2004
SIGMA = 1.5
K1, K2 = 0.01, 0.03
BT601 = np.array([0.299, 0.587, 0.114])
LEVELS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents, from fine to coarse

# Low-pass filter of the 9/7 biorthogonal wavelet: the middle tap, then outwards.
_HALF = np.array([0.852698679009, 0.377402855613, -0.110624404418, -0.023849465020, 0.037828455507])
LOW_PASS = np.concatenate([_HALF[:0:-1], _HALF])
LOW_PASS /= LOW_PASS.sum()


def psnr(restored: ArrayLike, sharp: ArrayLike, *, data_range: float) -> float:
    """Peak signal-to-noise ratio over all pixels and channels together.

    Args:
      restored, sharp: (height, width, 3) arrays in the same units.
      data_range: largest minus smallest possible value; 255 for uint8. Never guessed
        from the pixels, which goes wrong on dark pictures.

    Returns:
      A float in dB; `inf` for equal pictures.

    Raises:
      ValueError: shapes differ.
    """
    restored, sharp = convert_pair(restored, sharp)
    return convert_to_decibels(np.mean(np.square(restored - sharp)), data_range)


def ssim(restored: ArrayLike, sharp: ArrayLike, *, data_range: float) -> float:
    """Structural similarity, averaged over pixels and channels.

    Gaussian 11×11 window, sigma 1.5, where it lies wholly inside; population covariance;
    each channel alone. scikit-image has it as `gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, channel_axis=2`.

    Args:
      restored, sharp: (height, width, 3) arrays in the same units.
      data_range: as for `psnr`.

    Returns:
      A float, at most 1.0, which means equal.

    Raises:
      ValueError: shapes differ, or a side is shorter than the 11-pixel window.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, doi:10.1109/TIP.2003.819861.
    """
    return _valid(_moments(*convert_pair(restored, sharp)), data_range)


def ssim_matlab_rgb(restored: ArrayLike, sharp: ArrayLike, *, data_range: float) -> float:
    """Structural similarity as MATLAB's `ssim(rgb, rgb)` has it, and most deblurring tables.

    Gaussian 11×11×11 window over height, width and channel, borders replicated on all
    three axes. Three channels make the window's third axis a fixed 3×3 mixing matrix.

    Args and returns: as for `ssim`; never compare one kind with the other.

    Raises:
      ValueError: shapes differ.
    """
    return _across_channels(_moments(*convert_pair(restored, sharp)), data_range)


def score(restored: ArrayLike, sharp: ArrayLike, *, data_range: float) -> dict[str, float]:
    """{name: value} of the three metrics above, which share their windows: as theirs, faster."""
    restored, sharp = convert_pair(restored, sharp)
    moments = _moments(restored, sharp)
    return {
        "psnr": convert_to_decibels(np.mean(np.square(restored - sharp)), data_range),
        "ssim": _valid(moments, data_range),
        "ssim_matlab_rgb": _across_channels(moments, data_range),
    }


def compute_luma(image: np.ndarray) -> np.ndarray:
    """Y of BT.601 as MATLAB's `rgb2ycbcr` has it: (h, w, 3) in 0…255 -> (h, w) in 16…235."""
    return 16 + image @ (219 / 255 * BT601)


def score_y(restored: ArrayLike, sharp: ArrayLike) -> dict[str, float]:
    """Scores on Y, for comparison with published tables of Lai's data.

    Args:
      restored, sharp: (height, width, 3) RGB in 0…255, registered.

    Returns:
      A dict of floats:
      psnr_y: peak 255, though Y spans 219 levels only: 1.32 dB more than if it were 219.
      ssim_y: SSIM of Y in whole resolution, Gaussian window where it lies wholly inside.
      ssim_y_reduced: the same after dividing both sides by the smaller one / 256, rounded
        (by 3 on pictures of 1024×680 with 15 pixels cropped). The `ssim.m` beside
        SelfDeblur's scripts does so.

    Raises:
      ValueError: shapes differ, or a side is shorter than the 11-pixel window.
    """
    restored, sharp = convert_pair(restored, sharp)
    restored, sharp = compute_luma(restored), compute_luma(sharp)
    factor = max(1, math.floor(min(sharp.shape) / 256 + 0.5))
    reduced = [_reduce(image, factor) for image in (restored, sharp)]
    return {
        "psnr_y": convert_to_decibels(np.mean(np.square(restored - sharp)), 255),
        "ssim_y": _valid(_moments(restored, sharp), 255),
        "ssim_y_reduced": _valid(_moments(*reduced), 255),
    }


def ms_ssim(restored: np.ndarray, sharp: np.ndarray) -> float:
    """Multi-scale structural similarity of two grey pictures, as `metrix_mux` computes it.

    Means of contrast and of structure at five scales, of luminance at the coarsest, each to
    its power. Between scales the 9/7 wavelet's low-pass filter with mirrored borders, then
    every other pixel, the first included. Wang's own code takes 2×2 means instead, and the
    mean of contrast times structure, so its values differ.

    Args:
      restored, sharp: (height, width) arrays in 0…255.

    Returns:
      A float, at most 1.0, which means equal. Structure whose mean is below zero counts as
      zero: its power would be no real number.

    Raises:
      ValueError: a side is shorter than 161 pixels; the fifth scale has 11 then.

    Source: Wang, Simoncelli and Bovik 2003, doi:10.1109/ACSSC.2003.1292216.
    """
    if min(sharp.shape) < 161:
        raise ValueError(f"a side of {min(sharp.shape)} pixels; five scales need 161")
    score = 1.0
    for level, power in enumerate(LEVELS):
        if level:
            restored, sharp = (_low_pass(image)[::2, ::2] for image in (restored, sharp))
        luminance, contrast, structure = (x.mean() for x in map_similarity(restored, sharp, 255))
        score *= (contrast * max(structure, 0)) ** power
    return float(score * luminance**power)


def map_similarity(
    x: np.ndarray, y: np.ndarray, data_range: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps of luminance, contrast and structure, eq. 6, 9 and 10 of Wang et al. 2004.

    Where the window lies wholly inside: (h - 10, w - 10) or (h - 10, w - 10, c). Their product
    is the map of SSIM.
    """
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    inside = np.s_[RADIUS:-RADIUS, RADIUS:-RADIUS]
    mean_x, mean_y, xx, yy, xy = (_blur(image)[inside] for image in (x, y, x * x, y * y, x * y))
    # on flat ground rounding takes a variance below zero
    variance_x, variance_y = np.maximum(xx - mean_x**2, 0), np.maximum(yy - mean_y**2, 0)
    spread = np.sqrt(variance_x * variance_y)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast = (2 * spread + c2) / (variance_x + variance_y + c2)
    structure = (xy - mean_x * mean_y + c2 / 2) / (spread + c2 / 2)
    return luminance, contrast, structure


def convert_pair(restored: ArrayLike, sharp: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64; ValueError if they are not two (height, width, 3) arrays of one size."""
    restored, sharp = np.asarray(restored, np.float64), np.asarray(sharp, np.float64)
    if restored.shape != sharp.shape or sharp.ndim != 3 or sharp.shape[-1] != 3:
        raise ValueError(f"shapes {restored.shape} and {sharp.shape}; use (h, w, 3) twice")
    return restored, sharp


def convert_to_decibels(error: float | np.floating, data_range: float) -> float:
    """PSNR of a mean squared error; infinite for none."""
    return float(10 * np.log10(data_range**2 / error)) if error else float("inf")


def _moments(x, y):
    """The window's averages of both, of the sum of their squares, and of their product."""
    return [_blur(values) for values in (x, y, x * x + y * y, x * y)]


def _valid(moments, data_range):
    height, width = moments[0].shape[:2]
    if min(height, width) < 2 * RADIUS + 1:
        raise ValueError(f"a side of {min(height, width)} pixels; the window has 11")
    inside = np.s_[RADIUS:-RADIUS, RADIUS:-RADIUS]
    return _average_ssim(*(values[inside] for values in moments), data_range)


def _across_channels(moments, data_range):
    mixing = _channel_mixing()
    return _average_ssim(*(cv2.transform(values, mixing) for values in moments), data_range)


def _average_ssim(ux, uy, squares, uxy, data_range):
    """Mean of SSIM, (2 ux uy + C1) (2 vxy + C2) / ((ux² + uy² + C1) (vx + vy + C2)).

    Eq. 13 of Wang et al. 2004, the names as in scikit-image; in place, for that is half the time.
    """
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    a1, b1 = ux * uy, ux**2 + uy**2
    a2, b2 = uxy - a1, squares - b1  # vxy, and of vx and vy their sum alone
    a1 *= 2
    a1 += c1
    a2 *= 2
    a2 += c2
    b1 += c1
    b2 += c2
    a2 *= a1
    b2 *= b1
    a2 /= b2
    return float(a2.mean())


def _weights():
    taps = np.exp(-np.square(np.arange(-RADIUS, RADIUS + 1)) / (2 * SIGMA**2))
    return taps / taps.sum()


def _blur(x):
    return cv2.sepFilter2D(x, cv2.CV_64F, _weights(), _weights(), borderType=cv2.BORDER_REPLICATE)


def _channel_mixing():
    """The window along three channels with replicated ends: output channel × input channel."""
    mixing = np.zeros((3, 3))
    for channel in range(3):
        for offset, weight in zip(range(-RADIUS, RADIUS + 1), _weights()):
            mixing[channel, min(2, max(0, channel + offset))] += weight
    return mixing


def _low_pass(image):
    return cv2.sepFilter2D(image, cv2.CV_64F, LOW_PASS, LOW_PASS, borderType=cv2.BORDER_REFLECT)


def _reduce(image, factor):
    """Every factor-th pixel of the means over factor×factor, borders mirrored."""
    anchor = ((factor - 1) // 2,) * 2  # of an even window, as MATLAB's `imfilter` has it
    means = cv2.blur(image, (factor, factor), anchor=anchor, borderType=cv2.BORDER_REFLECT)
    return means[::factor, ::factor]
