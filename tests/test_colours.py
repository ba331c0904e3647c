"""Colours and resolution: by another reader's reckoning, or said to be lost."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from tf_deblur.pictures import photographs


def load(name):
    """One of those that libvips brings along."""
    import pyvips

    image = pyvips.Image.black(1, 1).copy(interpretation="srgb", bands=1)
    image = image.bandjoin([image, image]).copy(interpretation="srgb")
    return image.icc_transform(name, input_profile="srgb").get("icc-profile-data")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_stripped_picture_of_display_p3_keeps_its_colours(picture, suffix):
    array, data = picture(48, 64), io.BytesIO()
    Image.fromarray(array).save(
        data, {".png": "PNG", ".tif": "TIFF"}[suffix], icc_profile=load("p3")
    )
    photograph = photographs.strip_metadata(photographs.open_photograph(data.getvalue()))
    made = Image.open(io.BytesIO(photographs.encode(suffix, photograph.pixels, photograph)))
    assert "icc_profile" not in made.info
    source = ImageCms.ImageCmsProfile(io.BytesIO(load("p3")))
    target = ImageCms.createProfile("sRGB")
    expected = ImageCms.profileToProfile(Image.fromarray(array), source, target, 1)
    difference = np.abs(np.asarray(made).astype(int) - np.asarray(expected))
    assert difference.max() <= 2 and np.abs(array.astype(int) - np.asarray(expected)).max() > 10


@pytest.mark.parametrize("grey", [False, True])
def test_a_stripped_picture_of_srgb_is_the_same_to_the_bit(picture, grey):
    array, data = picture(48, 64), io.BytesIO()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    array = array[..., 0] if grey else array
    Image.fromarray(array).save(data, "PNG", icc_profile=srgb)
    photograph = photographs.strip_metadata(photographs.open_photograph(data.getvalue()))
    made = Image.open(io.BytesIO(photographs.encode(".png", photograph.pixels, photograph)))
    np.testing.assert_array_equal(np.asarray(made), array)


def test_16_bits_of_display_p3_are_converted_as_16_bits(picture):
    import pyvips

    deep = picture(48, 64).astype(np.uint16) * 257 + 3
    image = pyvips.Image.new_from_array(deep).copy(interpretation="rgb16")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", load("p3"))
    photograph = photographs.open_photograph(image.write_to_buffer(".png"))
    stripped = photographs.strip_metadata(photograph).pixels
    source = ImageCms.ImageCmsProfile(io.BytesIO(load("p3")))
    expected = ImageCms.profileToProfile(
        Image.fromarray(picture(48, 64)), source, ImageCms.createProfile("sRGB"), 1
    )
    assert stripped.dtype == np.uint16 and len(np.unique(stripped % 257)) > 100
    assert np.abs(stripped / 257 - np.asarray(expected)).max() < 2.5


def test_cmyk_of_16_bits_stays_in_16(picture):
    import tifffile

    inks = np.dstack([picture(48, 64), picture(48, 64, 1)[..., :1] // 4])
    made = []
    for array in (inks, inks.astype(np.uint16) * 257 + 40):
        data = io.BytesIO()
        tifffile.imwrite(data, array, photometric="separated")
        made.append(photographs.open_photograph(data.getvalue()).pixels)
    assert made[1].dtype == np.uint16 and len(np.unique(made[1] % 257)) > 100
    assert np.abs(made[1] / 257 - made[0]).max() < 3


@pytest.mark.parametrize("before", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("after", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("strip", [False, True])
def test_no_resolution_stays_none(picture, before, after, strip):
    data = io.BytesIO()
    Image.fromarray(picture(24, 32)).save(data, before)
    if before == "BMP":  # Pillow writes 96 dots an inch
        data = io.BytesIO(data.getvalue()[:38] + bytes(8) + data.getvalue()[46:])
    photograph = photographs.open_photograph(data.getvalue())
    if strip:
        photograph = photographs.strip_metadata(photograph)
    made = Image.open(io.BytesIO(photographs.encode(after, photograph.pixels, photograph)))
    assert made.info.get("jfif_unit", 0) == 0 and made.info.get("aspect") is None
    if after == ".tif":
        assert made.tag_v2[296] == 1
    else:
        assert "dpi" not in made.info
