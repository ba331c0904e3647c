import io
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_deblur.training.jpeg import compress


@pytest.mark.parametrize("quality", [30, 60, 80, 98])
@pytest.mark.parametrize("name", ["flowers", "written-notes", "singapore"])
def test_jpeg_leaves_what_pillow_leaves(name, quality):
    path = pathlib.Path(__file__).parents[1] / f"examples/photographs/{name}.jpg"
    photograph = Image.open(path).convert("RGB").resize((120, 104))  # of whole blocks in part
    stored = io.BytesIO()
    photograph.save(stored, "JPEG", quality=quality, subsampling="4:2:0")
    theirs, before = (np.asarray(each, np.int32) for each in (Image.open(stored), photograph))
    ours = compress(tf.constant(before[None], tf.uint8), tf.constant([quality])).numpy()[0]
    apart, lost = (np.mean((theirs - each) ** 2.0) ** 0.5 for each in (ours, before))
    assert ours.dtype == np.uint8 and apart < max(1, 0.3 * lost)  # a level is what rounding takes
