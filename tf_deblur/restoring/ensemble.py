"""The mean over a picture's turns and mirrors: what differs among them cancels."""

from collections.abc import Callable

import numpy as np

from tf_deblur.pictures import arrays
from tf_deblur.restoring.restorer import Restorer

COUNTS = (1, 4, 8)  # as it is; mirrored in both directions; and turned by a quarter too


class Ensemble(Restorer):
    """A restorer that restores each picture in several positions, and gives the mean.

    Args:
      inner: the `Restorer`.
      count: how many, of COUNTS: so much longer it takes.
    """

    def __init__(self, inner: Restorer, count: int) -> None:
        how = inner.precision, inner.device, inner.weights_sha256
        super().__init__(inner.name, inner.channels, *how)
        self.inner, self.count = inner, count

    def restore(self, image: np.ndarray, progress: Callable) -> np.ndarray:
        given, total = arrays.to_float(image), np.zeros(image.shape, np.float32)
        for number in range(self.count):
            turned = np.ascontiguousarray(_turn(given, number))
            restored = self.inner.restore(turned, lambda pixels: progress(pixels / self.count))
            total += _turn_back(restored, number)
        return arrays.from_float(total / self.count, image.dtype)

    def measure_seconds_a_pixel(self) -> float:
        return self.count * self.inner.measure_seconds_a_pixel()

    def measure_costs(self, height: int, width: int) -> dict:
        costs = self.inner.measure_costs(height, width)
        each = costs.get("multiply_adds")
        return costs | ({"multiply_adds": self.count * each} if each else {})

    def describe_tiles(self) -> str:
        return f"{self.inner.describe_tiles()}, the mean of {self.count} positions"

    def __str__(self):
        return f"{self.inner}, the mean of {self.count} positions"


def _turn(picture, number):
    """Mirrored left to right, top to bottom, along the diagonal, by a bit of the number each."""
    picture = picture[:, ::-1] if number & 1 else picture
    picture = picture[::-1] if number & 2 else picture
    return picture.transpose(1, 0, 2) if number & 4 else picture


def _turn_back(picture, number):
    picture = picture.transpose(1, 0, 2) if number & 4 else picture
    return _turn(picture, number & 3)
