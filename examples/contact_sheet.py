"""Makes docs/blur.jpg: pairs of `synthetic_blur` from the photographs beside this file.

python examples/contact_sheet.py [--output=docs/blur.jpg]
"""

import pathlib

import cv2
import numpy as np
from absl import app, flags

_OUTPUT = flags.DEFINE_string("output", "docs/blur.jpg", "The picture that this makes.")

PHOTOGRAPHS = pathlib.Path(__file__).parent / "photographs"
SIDE = 256
# Extent in pixels; a photograph whose camera shakes, and its seed; one in which a region moves.
ROWS = [
    (4, ("osprey", 1), ("flowers", 3)),
    (12, ("singapore", 1), ("mies", 5)),
    (32, ("written-notes", 5), ("otters", 5)),
]


def main(_):
    rows = [row(*told) for told in ROWS]
    encoded = cv2.imencode(".jpg", np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    pathlib.Path(_OUTPUT.value).write_bytes(encoded.tobytes())


def row(extent, shaken, moving):
    """Sharp and blurred of both photographs, side by side, below their captions."""
    still = extent / 4  # at least, of a camera before which things move
    cells = []
    for title, photograph, fields in [
        (f"camera, {extent} pixels", shaken, {"extent": (extent, extent), "moving": 0}),
        (f"moving region, to {extent} pixels", moving, {"extent": (still, extent), "moving": 1}),
    ]:
        blurred, sharp = pair(*photograph, fields)
        cells += [titled(sharp, "sharp"), titled(blurred, title)]
    return np.hstack(cells)


def pair(name, seed, fields):
    """Blurred and sharp, (SIDE, SIDE, 3) uint8 each, cut from the photograph of this name."""
    from tf_deblur import errors
    from tf_deblur.pictures import photographs

    with errors.quiet():
        from tf_deblur.datasets.synthetic_blur import synthetic_blur_dataset_builder as synthetic

    config = synthetic.BlurConfig(name="sheet", shrink=1.0, side=SIDE, **fields)
    photograph = photographs.read(PHOTOGRAPHS / f"{name}.jpg")
    return synthetic.blurred_pair(photograph, config, np.random.default_rng(seed))


def titled(picture, text):
    """The picture with a line of text above it, framed in white."""
    framed = cv2.copyMakeBorder(picture, 22, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    grey = (60, 60, 60)
    return cv2.putText(framed, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, grey, 1, cv2.LINE_AA)


if __name__ == "__main__":
    app.run(main)
