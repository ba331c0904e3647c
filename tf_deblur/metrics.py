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
    return _decibels(*_pair(restored, sharp), data_range)


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
    return _valid(_moments(*_pair(restored, sharp)), data_range)


def ssim_matlab_rgb(restored, sharp, *, data_range):
    """Structural similarity as MATLAB's `ssim(rgb, rgb)` has it, and most deblurring tables.

    Gaussian 11×11×11 window over height, width and channel, borders replicated on all
    three axes. Three channels make the window's third axis a fixed 3×3 mixing matrix.

    Args and returns: as for `ssim`; never compare one kind with the other.

    Raises:
      ValueError: shapes differ.
    """
    return _across_channels(_moments(*_pair(restored, sharp)), data_range)


def scores(restored, sharp, *, data_range):
    """{name: value} of the three metrics above, which share their windows: as theirs, faster."""
    restored, sharp = _pair(restored, sharp)
    moments = _moments(restored, sharp)
    return {
        "psnr": _decibels(restored, sharp, data_range),
        "ssim": _valid(moments, data_range),
        "ssim_matlab_rgb": _across_channels(moments, data_range),
    }


def _pair(restored, sharp):
    restored, sharp = np.asarray(restored, np.float64), np.asarray(sharp, np.float64)
    if restored.shape != sharp.shape or sharp.ndim != 3 or sharp.shape[-1] != 3:
        raise ValueError(f"shapes {restored.shape} and {sharp.shape}; use (h, w, 3) twice")
    return restored, sharp


def _decibels(x, y, data_range):
    error = np.mean(np.square(x - y))
    return float(10 * np.log10(data_range**2 / error)) if error else float("inf")


def _moments(x, y):
    """The window's averages of both, of the sum of their squares, and of their product."""
    return [_blur(values) for values in (x, y, x * x + y * y, x * y)]


def _valid(moments, data_range):
    height, width = moments[0].shape[:2]
    if min(height, width) < 2 * RADIUS + 1:
        raise ValueError(f"a side of {min(height, width)} pixels; the window has 11")
    inside = np.s_[RADIUS:-RADIUS, RADIUS:-RADIUS]
    return _similarity(*(values[inside] for values in moments), data_range)


def _across_channels(moments, data_range):
    mixing = _channel_mixing()
    return _similarity(*(cv2.transform(values, mixing) for values in moments), data_range)


def _similarity(mean_x, mean_y, squares, product, data_range):
    """Mean of the index of Wang et al. 2004, eq. 13; in place, for that is half the time."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    both = mean_x * mean_y
    means = mean_x**2 + mean_y**2
    covariance, variances = product - both, squares - means  # the variances enter as a sum only
    covariance *= 2
    covariance += c2
    variances += c2
    both *= 2
    both += c1
    means += c1
    covariance *= both
    variances *= means
    covariance /= variances
    return float(covariance.mean())


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
