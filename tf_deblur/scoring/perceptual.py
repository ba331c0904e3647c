"""Two measures made to agree with what people see, by others' packages: only where asked for.

They are no part of the protocol: what was restored to please one of them pleases it.
"""

import io
from importlib import metadata

import flip_evaluator
import numpy as np
import ssimulacra2
from PIL import Image

from tf_deblur.pictures import arrays
from tf_deblur.scoring import metrics


def score(restored: np.ndarray, sharp: np.ndarray) -> dict[str, float]:
    """`metrics.score`, and two more of the pictures in 8 bits.

    Args:
      restored, sharp: (height, width, 3) RGB in 0…255.

    Returns:
      A dict of floats, with beside the others
      ssimulacra2: 100 for equal pictures, 90 where a difference is hard to see, below 0 where
        it strikes. Sides below 225 pixels leave it fewer than its six scales.
      flip: the mean of ꟻLIP's map: 0 for equal pictures, at most 1; as on a screen with 67
        pixels a degree.

    Source: Sneyers 2022 (SSIMULACRA 2.1); Andersson et al. 2020 (ꟻLIP).
    """
    eight_bits = [arrays.to_uint8(np.asarray(image) / 255) for image in (sharp, restored)]
    _, flip, _ = flip_evaluator.evaluate(*map(arrays.to_float, eight_bits), "LDR", applyMagma=False)
    return metrics.score(restored, sharp, data_range=255) | {
        "ssimulacra2": float(ssimulacra2.compute_ssimulacra2(*map(_file, eight_bits))),
        "flip": float(flip),
    }


def list_versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("ssimulacra2", "flip-evaluator")}


def _file(picture):
    """As a file in memory, which is what the package reads."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "BMP")
    return file
