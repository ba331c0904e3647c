"""PNG files: what lies in their chunks, wherever it lies."""

import io

import pytest
from PIL import Image

from tf_deblur.errors import BadPicture
from tf_deblur.pictures import photographs


def test_an_animated_png_is_refused_as_other_animations_are(picture):
    frames, data = [Image.fromarray(picture(16, 16, seed)) for seed in range(3)], io.BytesIO()
    frames[0].save(data, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(BadPicture, match="3 pages or frames; one picture a file is wanted"):
        photographs.open_photograph(data.getvalue())
