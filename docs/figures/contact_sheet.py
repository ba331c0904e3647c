"""Makes the docs' pictures: pairs of `synthetic_blur`, and such pairs restored.

python docs/figures/contact_sheet.py
python docs/figures/contact_sheet.py --held_out=DIR
python docs/figures/contact_sheet.py --held_out=DIR --beside=runs/mine

The first makes blur.jpg, from examples/photographs; the second before_after.jpg and restored.jpg,
from others; the third beside.jpg, with other weights too.
"""

import pathlib

import cv2
import numpy as np
from absl import app, flags

_OUTPUT = flags.DEFINE_string("output", "docs", "Folder of the pictures.")
_HELD_OUT = flags.DEFINE_string("held_out", None, "Photographs that no weights were trained on.")
_BESIDE = flags.DEFINE_string("beside", None, "Weights to show beside those that ship.")

PHOTOGRAPHS = pathlib.Path(__file__).parents[2] / "examples/photographs"
SIDE = 256
# Extent in pixels; a photograph whose camera shakes, and its seed; one in which a region moves.
ROWS = [
    (4, ("osprey", 1), ("flowers", 3)),
    (12, ("singapore", 1), ("mies", 5)),
    (32, ("written-notes", 5), ("otters", 5)),
]
# Held out: name, extent in pixels, seed, and the upper left corner of what is shown.
RESTORED = [
    ("clic_0c49a5cce349", 7, 2, (150, 500)),
    ("clic_c9510efb03d1", 7, 2, (600, 450)),
    ("immich_japanese-shop", 7, 2, (560, 330)),
    ("gb82_city", 7, 2, (120, 200)),
    ("budgie_beacon-street-sunset", 7, 2, (480, 220)),
]
SIXTH = ("clic_28d24b9c83de", 7, 2, (300, 300))


def main(_):
    if not _HELD_OUT.value:
        return write("blur", np.vstack([blur_row(*told) for told in ROWS]))
    if _BESIDE.value:
        models = "compact", _BESIDE.value
        told = [*RESTORED, SIXTH]
        return write("beside", np.vstack([restore_row(*row, models=models) for row in told]))
    rows = [restore_row(*told) for told in RESTORED]
    write("restored", np.vstack(rows))
    write("before_after", np.vstack(rows[:2]))


def write(name, picture):
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    folder = pathlib.Path(_OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jpg").write_bytes(encoded.tobytes())


def restore_row(name, extent, seed, corner, size=(340, 200), models=("compact",)):
    """A photograph blurred, restored by each of the models, and sharp, side by side."""
    import tf_deblur

    fields = {"extent": (extent, extent), "moving": 0, "side": 1024}
    blurred, sharp = blur_pair(pathlib.Path(_HELD_OUT.value) / f"{name}.jpg", seed, fields)
    pictures = blurred, *(tf_deblur.load(model)(blurred) for model in models), sharp
    (x, y), (width, height) = corner, size
    return np.hstack([picture[y : y + height, x : x + width] for picture in pictures])


def blur_row(extent, shaken, moving):
    """Sharp and blurred of both photographs, side by side, below their captions."""
    still = extent / 4  # at least, of a camera before which things move
    cells = []
    for title, photograph, fields in [
        (f"camera, {extent} pixels", shaken, {"extent": (extent, extent), "moving": 0}),
        (f"moving region, to {extent} pixels", moving, {"extent": (still, extent), "moving": 1}),
    ]:
        name, seed = photograph
        fields["side"] = SIDE
        blurred, sharp = blur_pair(PHOTOGRAPHS / f"{name}.jpg", seed, fields)
        cells += [add_title(sharp, "sharp"), add_title(blurred, title)]
    return np.hstack(cells)


def blur_pair(path, seed, fields):
    """Blurred and sharp, (height, width, 3) uint8 each, cut from a photograph."""
    from tf_deblur import errors
    from tf_deblur.pictures import photographs

    with errors.quiet():
        from tf_deblur.datasets.synthetic_blur import synthetic_blur_dataset_builder as synthetic

    config = synthetic.BlurConfig(name="sheet", shrink=1.0, **fields)
    return synthetic.blur_pair(photographs.read(path), config, np.random.default_rng(seed))


def add_title(picture, text):
    """The picture with a line of text above it, framed in white."""
    framed = cv2.copyMakeBorder(picture, 22, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    grey = (60, 60, 60)
    return cv2.putText(framed, text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, grey, 1, cv2.LINE_AA)


if __name__ == "__main__":
    app.run(main)
