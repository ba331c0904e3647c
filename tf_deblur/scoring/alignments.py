"""How a restored picture is laid upon the sharp one, by name: a row for each way.

What registers and measures is loaded where a picture is scored, so that a command can list these.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable

from tf_deblur.errors import UserError

if typing.TYPE_CHECKING:
    import tensorflow_datasets as tfds

# Arguments of `align.find_best_shift` on Lai's data. The first is what papers use; kernel 4 moves
# pictures by up to 35 pixels, which only the second finds.
SHIFTS = {
    "shift10": {"limit": 10, "crop": 15},
    "shift40": {"limit": 40, "crop": 40},
}


@dataclasses.dataclass(frozen=True)
class Alignment:
    """How a restored picture is laid upon the sharp one before they are compared.

    Attributes:
      told: in words, with its limits.
      score: (restored, sharp, measure), uint8 -> {metric: value}, {note: value}; the measure
        is a function such as `scoring.MEASURE`, of what lies upon each other.
      smallest_side: of the pictures that can be scored so, in pixels.
      headline: the metric by which pictures count as made worse.
      own: whether the data set's procedure has its own metrics, and takes no other measure.
    """

    told: str
    score: Callable
    smallest_side: int = 11  # the window of SSIM
    headline: str = "psnr"
    own: bool = False


def _score_unaligned(restored, sharp, measure):
    return measure(restored, sharp), {}


def _score_shifted(restored, sharp, measure, limits):
    from tf_deblur.scoring import align, metrics

    found = align.find_best_shift(restored, sharp, **limits)
    scores = measure(found.restored, found.sharp)
    note = {"down": found.down, "right": found.right, "at_limit": found.at_limit}
    return scores | metrics.score_y(found.restored, found.sharp), note


def _score_turned(restored, sharp, measure):
    from tf_deblur.scoring import align

    start = align.find_best_shift(restored, sharp, **SHIFTS["shift10"])
    restored, sharp, warp = align.turn(restored, sharp, (start.down, start.right))
    return measure(restored, sharp), {"failed": warp is None}


def _score_by_realblur(restored, sharp, _):
    from tf_deblur.scoring import align

    scores, warp = align.score_by_realblur(restored, sharp)
    return scores, {"failed": warp is None}


def _score_by_kohler(restored, frames, _):
    from tf_deblur.scoring import align

    best = align.score_by_kohler(restored, frames)
    return {"psnr_luma": best["psnr"], "ms_ssim": best["ms_ssim"]}, {}


ALIGNMENTS = {
    "none": Alignment("not aligned", _score_unaligned),
    **{
        name: Alignment(
            f"best shift of at most {limits['limit']} pixels, found on Y in steps of 0.25, "
            f"{limits['crop']} pixels cropped at each side",
            functools.partial(_score_shifted, limits=limits),
            smallest_side=2 * limits["crop"] + 11,
        )
        for name, limits in SHIFTS.items()
    },
    "euclidean": Alignment(
        "shifted and turned by ECC from the best shift of at most 10 pixels, on what both show",
        _score_turned,
        smallest_side=41,
    ),
    "realblur": Alignment(
        "RealBlur's procedure: scaled, warped by a homography", _score_by_realblur, own=True
    ),
    "kohler": Alignment(
        "Köhler's procedure: scaled, shifted by whole pixels, the best of the sharp frames",
        _score_by_kohler,
        smallest_side=161,  # five scales of MS-SSIM
        headline="psnr_luma",
        own=True,
    ),
}
# What a data set is scored with, and what users may ask for in its place.
OWN = {"lai": ("none", *SHIFTS), "kohler": ("kohler",)}
ASKED = {
    "none": ("none",),
    "shift": tuple(SHIFTS),
    "euclidean": ("euclidean",),
    "realblur": ("realblur",),
}


def choose_alignments(builder: "tfds.core.DatasetBuilder", asked: str | None) -> tuple[str, ...]:
    """Names of the alignments to score with: the data set's own ones if none is asked for."""
    if asked is None:
        return OWN.get(builder.name, ("none",))
    if builder.name == "kohler":
        raise UserError("kohler: has a procedure of its own; leave --align out")
    return ASKED[asked]
