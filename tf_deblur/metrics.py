"""How near a restored picture is to the sharp one, in NumPy and OpenCV, float64.

Five different things are called SSIM; here are the two that people publish.
"""

import numpy as np

from tf_deblur.images import cv2

RADIUS = 5  # the 11-pixel window of Wang et al. 2004
SIGMA = 1.5
K1, K2 = 0.01, 0.03


def psnr(restored, sharp, *, data_range):
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
    restored, sharp = _pair(restored, sharp)
    error = np.mean(np.square(restored - sharp))
    return float(10 * np.log10(data_range**2 / error)) if error else float("inf")


def ssim(restored, sharp, *, data_range):
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

    Source: Wang et al. 2004.
    """
    restored, sharp = _pair(restored, sharp)
    if min(sharp.shape[:2]) < 2 * RADIUS + 1:
        raise ValueError(f"a side of {min(sharp.shape[:2])} pixels; the window has 11")
    inside = np.s_[RADIUS:-RADIUS, RADIUS:-RADIUS]
    return _mean_similarity(restored, sharp, data_range, lambda x: _blur(x)[inside])


def ssim_matlab_rgb(restored, sharp, *, data_range):
    """Structural similarity as MATLAB's `ssim(rgb, rgb)` has it, and most deblurring tables.

    Gaussian 11×11×11 window over height, width and channel, borders replicated on all
    three axes. Three channels make the window's third axis a fixed 3×3 mixing matrix.

    Args and returns: as for `ssim`; never compare one kind with the other.

    Raises:
      ValueError: shapes differ.
    """
    restored, sharp = _pair(restored, sharp)
    mixing = _channel_mixing()
    return _mean_similarity(restored, sharp, data_range, lambda x: cv2.transform(_blur(x), mixing))


def _pair(restored, sharp):
    restored, sharp = np.asarray(restored, np.float64), np.asarray(sharp, np.float64)
    if restored.shape != sharp.shape or sharp.ndim != 3 or sharp.shape[-1] != 3:
        raise ValueError(f"shapes {restored.shape} and {sharp.shape}; use (h, w, 3) twice")
    return restored, sharp


def _mean_similarity(x, y, data_range, window):
    """Mean of the index of Wang et al. 2004, eq. 13, over what `window` averages."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_x, mean_y = window(x), window(y)
    variances = window(x * x + y * y) - mean_x**2 - mean_y**2  # the two enter as a sum only
    covariance = window(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return float(np.mean(luminance * (2 * covariance + c2) / (variances + c2)))


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
