"""Registration of a restored picture to the sharp one, and the scores that come with it.

Each of three data sets is scored by a procedure of its own: Lai's by the best shift, Köhler's
by the best of many sharp frames, RealBlur's by a homography. NumPy and OpenCV.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable

import numpy as np

from tf_deblur.opencv import cv2
from tf_deblur.scoring import metrics

STEPS = 4  # positions tried per pixel: shifts are multiples of 0.25


@dataclasses.dataclass(frozen=True)
class Shifted:
    """Two pictures of which one was shifted to fit the other.

    Attributes:
      restored: (height - 2 crop, width - 2 crop, 3) float64, in the units it came in;
        interpolated unless both shifts are whole.
      sharp: the same part of the sharp picture, float64, only cropped.
      down, right: where the restored picture was read, in pixels, multiples of 0.25:
        `restored[y + down, x + right]` shows what `sharp[y, x]` does.
      at_limit: whether the shift lies on the border of the search, and so may be too small.
    """

    restored: np.ndarray
    sharp: np.ndarray
    down: float
    right: float
    at_limit: bool


def find_best_shift(restored: np.ndarray, sharp: np.ndarray, *, limit: int, crop: int) -> Shifted:
    """Shifts the restored picture to where its luma differs least from the sharp one's.

    Every shift of up to `limit` pixels in steps of 0.25, both ways on both axes, is compared
    by the sum of squared differences of Y, the restored picture read bilinearly. Of equally
    good shifts the shortest is taken.

    Args:
      restored, sharp: (height, width, 3) RGB in 0…255, uint8 or float.
      limit: the largest shift in pixels, a whole number.
      crop: pixels removed at each side of the sharp picture, at least `limit`: then no
        shifted pixel is read outside the picture.

    Returns:
      A `Shifted`.

    Raises:
      ValueError: shapes differ, crop is less than limit, or too little is left for the
        11-pixel window of SSIM.

    Source: the search of Levin et al. 2009, as SelfDeblur (Ren et al. 2020) uses it on Lai's
    data; there limit 10, crop 15.
    """
    restored, sharp = metrics.convert_pair(restored, sharp)
    if crop < limit:
        raise ValueError(f"crop {crop} and limit {limit}; crop has to be at least limit")
    side = min(sharp.shape[:2])
    if side - 2 * crop < 2 * metrics.RADIUS + 1:
        raise ValueError(f"a side of {side} pixels; {2 * crop + 11} are needed with crop {crop}")
    cropped = _read(sharp, 0, 0, crop)
    pictures = _read(restored, 0, 0, crop - limit), cropped
    wide, narrow = map(metrics.compute_luma, pictures)
    errors = _compare_shifts(wide, narrow, limit)

    offsets = np.arange(errors.shape[0]) / STEPS - limit
    distance = np.hypot(offsets[:, None], offsets)
    least = errors.min() + 1e-12 * (np.sum(wide**2) + np.sum(narrow**2))  # rounding is below it
    row, column = np.unravel_index(
        np.where(errors <= least, distance, np.inf).argmin(), errors.shape
    )
    down, right = float(offsets[row]), float(offsets[column])
    at_limit = max(abs(down), abs(right)) == limit
    return Shifted(_read(restored, down, right, crop), cropped, down, right, at_limit)


def turn(
    restored: np.ndarray, sharp: np.ndarray, start: tuple[float, float] = (0, 0)
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Rotates and shifts the restored picture onto the sharp one. No published table does so.

    Args:
      restored, sharp: (height, width, 3) RGB in 0…255.
      start: the shift (down, right) to begin with, of `find_best_shift`, say: the search finds no
        more than a few pixels by itself.

    Returns:
      restored, sharp: float64, the same number of pixels removed at each side of both, the
        least that leaves only what was read inside the restored picture.
      warp: 2×3 float32, which takes (x, y, 1) of the sharp picture to where the restored one
        was read. None if the search failed; then the pictures are whole, as they came.

    Raises:
      ValueError: shapes differ.

    Source: Evangelidis and Psarakis 2008 (ECC).
    """
    restored, sharp = metrics.convert_pair(restored, sharp)
    warp = np.array([[1, 0, start[1]], [0, 1, start[0]]], np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-6)
    grey = [metrics.compute_luma(image).astype(np.float32) for image in (sharp, restored)]
    try:
        _, warp = cv2.findTransformECC(*grey, warp, cv2.MOTION_EUCLIDEAN, stop, None, 5)
    except cv2.error:
        return restored, sharp, None
    height, width = sharp.shape[:2]
    for crop in range((min(height, width) - 2 * metrics.RADIUS - 1) // 2 + 1):
        xs, ys = (crop, width - 1 - crop), (crop, height - 1 - crop)
        # a rotated rectangle lies inside where its corners do
        x, y = warp @ np.array([[x, y, 1] for x in xs for y in ys]).T
        if x.min() >= 0 and y.min() >= 0 and x.max() <= width - 1 and y.max() <= height - 1:
            read = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            moved = cv2.warpAffine(restored, warp, (width, height), flags=read)
            return _read(moved, 0, 0, crop), _read(sharp, 0, 0, crop), warp
    return restored, sharp, None


def score_by_kohler(restored: np.ndarray, frames: Iterable[np.ndarray]) -> dict[str, float]:
    """The scores of Köhler et al. 2012: the best over the sharp frames of a camera path.

    For each frame the restored picture is scaled to it in intensity, then shifted by whole
    pixels to the peak of their circular cross-correlation; what is shifted in is 0, and 0 in
    the frame too, and counts.

    Args:
      restored: (height, width, 3) RGB in 0…255, uint8.
      frames: an iterable of sharp pictures of the same shape; one at a time is held.

    Returns:
      {"psnr": dB of 0.299 R + 0.587 G + 0.114 B with peak 255, "ms_ssim": of the same, as
      `metrics.ms_ssim`}, each the best over the frames by itself. The benchmark calls the
      second MSSIM.

    Raises:
      ValueError: no frames, shapes differ, or a side of less than 161 pixels.

    Source: the benchmark's `eval_image.m` with `dftregistration` and `metrix_mux`.
    """
    scores = []
    for frame in frames:
        z, x = metrics.convert_pair(restored, frame)
        scale = _scale(z, x)
        down, right = _correlation_peak(z.mean(-1), x.mean(-1))
        mask = _move(np.ones(x.shape[:2]), down, right)
        z, x = _move(scale * z @ metrics.BT601, down, right), mask * (x @ metrics.BT601)
        psnr = metrics.convert_to_decibels(np.mean(np.square(z - x)), 255)
        scores.append((psnr, metrics.ms_ssim(z, x)))
    if not scores:
        raise ValueError("no frames to compare with")
    psnrs, similarities = zip(*scores)
    return {"psnr": max(psnrs), "ms_ssim": max(similarities)}


def score_by_realblur(
    restored: np.ndarray, sharp: np.ndarray
) -> tuple[dict[str, float], np.ndarray | None]:
    """The scores of RealBlur (Rim et al. 2020): after ECC with a homography, on the overlap.

    The benchmark's numbers come from OpenCV 4.2; other releases differ in the last digits.

    Args:
      restored, sharp: (height, width, 3) RGB in 0…255, uint8.

    Returns:
      scores: {"psnr": dB over the pixels that the warped picture covers, "ssim": the mean
        over these and the channels of each channel's SSIM, 5 pixels off each side}.
      warp: 3×3 float32, which takes (x, y, 1) of the sharp picture to where the restored one
        was read. None if the search failed; then the pictures are scored as they lie, scaled
        in intensity only. The benchmark's own code stops there.

    Raises:
      ValueError: shapes differ, or a side is shorter than the 11-pixel window.

    Source: the benchmark's `evaluation_RealBlur_ecc.py`.
    """
    z, x = (image / 255 for image in metrics.convert_pair(restored, sharp))
    height, width = x.shape[:2]
    if min(height, width) < 2 * metrics.RADIUS + 1:
        raise ValueError(f"a side of {min(height, width)} pixels; the window has 11")
    # float32, as there: the search ends elsewhere in another precision
    z, x = (_scale(z, x) * z).astype(np.float32), x.astype(np.float32)
    z, mask, warp = _by_homography(z, x)
    z, x = ((image * mask[..., None]).astype(np.float64) for image in (z, x))
    similarity = math.prod(metrics.map_similarity(z, x, 1))
    inside = _read(mask, 0, 0, metrics.RADIUS)
    scores = {
        "psnr": metrics.convert_to_decibels(np.sum(np.square(x - z)) / (3 * np.sum(mask)), 1),
        "ssim": float(np.sum(similarity * inside[..., None]) / (3 * np.sum(inside))),
    }
    return scores, warp


def _by_homography(restored, sharp):
    """The restored picture warped onto the sharp one, where it covers that, and the warp.

    Where the search fails, or nothing is left to score: as it came, everywhere, and None.
    """
    everywhere = np.ones(sharp.shape[:2], np.float32)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (sharp, restored)]
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 0)
    start = np.eye(3, dtype=np.float32)
    try:
        _, warp = cv2.findTransformECC(*grey, start, cv2.MOTION_HOMOGRAPHY, stop, None, 5)
    except cv2.error:
        return restored, everywhere, None
    size = everywhere.shape[::-1]
    nearest, cubic = (way | cv2.WARP_INVERSE_MAP for way in (cv2.INTER_NEAREST, cv2.INTER_CUBIC))
    mask = cv2.warpPerspective(everywhere, warp, size, flags=nearest)
    if not _read(mask, 0, 0, metrics.RADIUS).any():
        return restored, everywhere, None
    moved = cv2.warpPerspective(restored, warp, size, flags=cubic, borderMode=cv2.BORDER_REFLECT)
    return moved, mask, warp


def _scale(restored, sharp):
    """What the restored picture is multiplied by to fit the sharp one; any will do on black."""
    energy = np.sum(restored * restored)
    return np.sum(sharp * restored) / energy if energy else 1.0


def _read(image, down, right, crop):
    """image[y + down, x + right], bilinearly, for pixels at least `crop` from each side."""
    height, width = image.shape[:2]
    top, left = math.floor(down), math.floor(right)
    corners = itertools.product((top, top + 1), (left, left + 1))
    return sum(
        weight * image[crop + y : height - crop + y, crop + x : width - crop + x]
        for weight, (y, x) in zip(_bilinear(down - top, right - left), corners)
        if weight  # a whole shift reads nothing beyond, and changes no value
    )


def _bilinear(y, x):
    """Weights of the pixels (0, 0), (0, 1), (1, 0), (1, 1) at a point between them."""
    return np.outer((1 - y, y), (1 - x, x)).ravel()


def _compare_shifts(wide, sharp, limit):
    """Sum of squared differences at each shift, exactly, without shifting.

    A bilinear value is a weighted sum of four pixels, so its squared error is a quadratic form
    in the weights. Its coefficients depend on the whole part of the shift alone: sums over a
    window of products of neighbours, and correlations with the sharp picture.

    Args:
      wide: (h + 2 limit, w + 2 limit), the restored picture.
      sharp: (h, w), which lies in its middle.

    Returns:
      (8 limit + 1, 8 limit + 1); rows are shifts down from -limit in steps of 0.25.
    """
    # Nearer to zero less is lost to rounding. The last whole shift reads its neighbours beyond
    # the picture with weight zero.
    wide, sharp = np.pad(wide - sharp.mean(), (0, 1)), sharp - sharp.mean()
    positions = 2 * limit + 1
    corners = [wide[y : y - 1 or None, x : x - 1 or None] for y in (0, 1) for x in (0, 1)]
    products = np.empty((4, 4, positions, positions))
    for a, b in itertools.combinations_with_replacement(range(4), 2):
        products[a, b] = products[b, a] = _window_sums(corners[a] * corners[b], sharp.shape)
    matches = _correlations(wide, sharp)
    matches = np.stack(
        [matches[y : y + positions, x : x + positions] for y in (0, 1) for x in (0, 1)]
    )
    fractions = np.arange(STEPS) / STEPS
    weights = np.array([_bilinear(y, x) for y in fractions for x in fractions])
    errors = np.einsum("fa,fb,abyx->fyx", weights, weights, products)
    errors += np.sum(sharp**2) - 2 * np.einsum("fa,ayx->fyx", weights, matches)
    errors = errors.reshape(STEPS, STEPS, positions, positions).transpose(2, 0, 3, 1)
    errors = errors.reshape(STEPS * positions, STEPS * positions)
    return errors[: 2 * limit * STEPS + 1, : 2 * limit * STEPS + 1]


def _window_sums(image, shape):
    """Sums over each window of that shape which lies inside."""
    total = cv2.integral(image, sdepth=cv2.CV_64F)
    height, width = shape
    rows = total[height:] - total[:-height]
    return rows[:, width:] - rows[:, :-width]


def _correlations(wide, narrow):
    """Sums of wide[y + i, x + j] · narrow[y, x] for every (i, j) that leaves narrow inside."""
    size = [cv2.getOptimalDFTSize(side) for side in wide.shape]
    spectrum = np.fft.rfft2(wide, size) * np.conj(np.fft.rfft2(narrow, size))
    height, width = (a - b + 1 for a, b in zip(wide.shape, narrow.shape))
    return np.fft.irfft2(spectrum, size)[:height, :width]


def _correlation_peak(restored, sharp):
    """How far down and right to move the restored picture: whole pixels, circularly."""
    spectrum = np.fft.rfft2(sharp) * np.conj(np.fft.rfft2(restored))
    correlation = np.fft.irfft2(spectrum, sharp.shape)
    peak = np.unravel_index(correlation.argmax(), sharp.shape)
    # the second half of each axis holds the shifts up and left
    return [(i + side // 2) % side - side // 2 for side, i in zip(sharp.shape, peak)]


def _move(image, down, right):
    """An image moved by whole pixels; zeros come in."""
    moved = np.zeros_like(image)
    height, width = image.shape[:2]
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = image[
        max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
    ]
    return moved
