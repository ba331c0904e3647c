"""What a file holds beside its pixels survives, in every format that can hold it."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageCms

from tf_deblur import images
from tf_deblur.errors import UserError

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MAKE, ORIENTATION, DATE, EXPOSURE, GPS, DETAILS = 0x10F, 0x112, 0x132, 0x829A, 0x8825, 0x8769
LOSSLESS, LOSSY = (".png", ".tif"), (".jpg", ".webp", ".avif")


def exif(orientation=1):
    tags = Image.Exif()
    tags[MAKE], tags[DATE], tags[ORIENTATION] = "A camera", "2018:06:25 12:00:00", orientation
    tags.get_ifd(DETAILS)[EXPOSURE] = (1, 50)
    tags.get_ifd(GPS)[1] = "N"
    return tags


def saved(path, array, **more):
    Image.fromarray(array).save(path, **more)
    return images.open_photograph(path)


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_channels_and_bits_come_back(tmp_path, picture, suffix, channels, dtype):
    import pyvips

    array = np.dstack([picture(40, 60), picture(40, 60, seed=1)])[..., :channels].astype(dtype)
    if dtype == np.uint16:
        array = array * 257 + 3
    kinds = {(1, 1): "b-w", (2, 1): "grey16", (1, 3): "srgb", (2, 3): "rgb16"}
    kind = kinds[array.itemsize, 1 if channels < 3 else 3]
    before = tmp_path / f"before{suffix}"
    pyvips.Image.new_from_array(array).copy(interpretation=kind).write_to_file(str(before))
    photograph = images.open_photograph(before)
    assert photograph.pixels.dtype == dtype and photograph.grey == (channels < 3)
    images.write(tmp_path / f"after{suffix}", photograph.pixels, photograph)
    after = pyvips.Image.new_from_file(str(tmp_path / f"after{suffix}")).numpy()
    np.testing.assert_array_equal(after.reshape(array.shape), array)


@pytest.mark.parametrize("before, after", [*itertools.product((".jpg", ".png", ".webp"), repeat=2)])
def test_exif_profile_and_xmp_are_kept(tmp_path, picture, before, after):
    more = {} if before == ".png" else {"xmp": XMP}
    path = tmp_path / f"before{before}"
    photograph = saved(path, picture(24, 32), exif=exif(), icc_profile=PROFILE, **more)
    images.write(tmp_path / f"after{after}", photograph.pixels, photograph)
    again = Image.open(tmp_path / f"after{after}")
    tags = again.getexif()
    assert (tags[MAKE], tags[DATE], tags[ORIENTATION]) == ("A camera", "2018:06:25 12:00:00", 1)
    assert tags.get_ifd(DETAILS)[EXPOSURE] == pytest.approx(1 / 50) or tags.get_ifd(DETAILS)[
        EXPOSURE
    ] == (1, 50)
    assert tags.get_ifd(GPS)[1] == "N"
    assert again.info["icc_profile"] == PROFILE
    if more:
        assert b"xmpmeta" in str(again.info).encode()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_the_resolution_is_kept(tmp_path, picture, suffix):
    photograph = saved(tmp_path / f"before{suffix}", picture(24, 32), dpi=(300, 300))
    images.write(tmp_path / f"after{suffix}", photograph.pixels, photograph)
    assert Image.open(tmp_path / f"after{suffix}").info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_a_turned_photograph_is_turned_once(tmp_path, picture, orientation, suffix):
    more = {"quality": 100, "lossless": True} if suffix == ".webp" else {"quality": 100}
    more = more if suffix in LOSSY else {}
    photograph = saved(
        tmp_path / f"before{suffix}", picture(24, 32), exif=exif(orientation), **more
    )
    upright = np.asarray(_upright(picture(24, 32), orientation))
    assert photograph.pixels.shape == upright.shape
    if suffix != ".jpg":
        np.testing.assert_array_equal(photograph.pixels, upright)
    images.write(tmp_path / f"after{suffix}", photograph.pixels, photograph, quality=100)
    again = Image.open(tmp_path / f"after{suffix}")
    assert again.size == upright.shape[1::-1] and again.getexif().get(ORIENTATION, 1) == 1
    assert (
        np.abs(np.asarray(again.convert("RGB")).astype(int) - upright).mean() < 12
    )  # 60 if turned otherwise


def _upright(array, orientation):
    """The eight orientations by the EXIF standard: which side of the stored rows is the top."""
    turned = np.rot90(array, {3: 2, 4: 2, 5: -1, 6: -1, 7: 1, 8: 1}.get(orientation, 0))
    return turned[:, ::-1] if orientation in (2, 4, 5, 7) else turned


def test_the_thumbnail_that_shows_the_blur_is_dropped(tmp_path, picture):
    small = io.BytesIO()
    Image.fromarray(picture(16, 16)).save(small, "JPEG")
    tags = exif()
    ifd = tags.get_ifd(1)  # the thumbnail's
    ifd[0x103], ifd[0x201], ifd[0x202] = 6, 0, len(small.getvalue())
    data = tags.tobytes()
    where = len(data) - 6  # after the tags, counted from the TIFF header
    tags.get_ifd(1)[0x201] = where
    photograph = saved(tmp_path / "a.jpg", picture(24, 32), exif=tags.tobytes() + small.getvalue())
    images.write(tmp_path / "b.jpg", photograph.pixels, photograph)
    assert (tmp_path / "b.jpg").read_bytes().count(b"\xff\xd8") == 1  # one JPEG, none inside


def test_stripped_is_without_all_of_it(tmp_path, picture):
    import dataclasses

    photograph = saved(tmp_path / "a.jpg", picture(24, 32), exif=exif(), icc_profile=PROFILE)
    images.write(
        tmp_path / "b.jpg", photograph.pixels, dataclasses.replace(photograph, header=None)
    )
    again = Image.open(tmp_path / "b.jpg")
    assert not again.getexif() and "icc_profile" not in again.info


def test_palettes_and_cmyk_become_rgb(tmp_path, picture):
    array = picture(24, 32)
    indexed = Image.fromarray(array).quantize(16)
    indexed.save(tmp_path / "palette.png")
    expected = np.asarray(indexed.convert("RGB"))
    np.testing.assert_array_equal(images.read(tmp_path / "palette.png"), expected)
    Image.fromarray(array).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    again = images.read(tmp_path / "cmyk.jpg")
    assert again.shape == array.shape and np.abs(again.astype(int) - array).mean() < 40


def test_the_format_is_told_by_what_is_in_the_file(tmp_path, picture):
    Image.fromarray(picture(24, 32)).save(tmp_path / "photo.jpg", "PNG")
    photograph = images.open_photograph(tmp_path / "photo.jpg")
    np.testing.assert_array_equal(photograph.pixels, picture(24, 32))
    assert photograph.suffix == ".png"


def test_what_claims_too_much_or_moves_is_refused(tmp_path, picture):
    bomb = Image.new("1", (20_000, 10_000))
    bomb.save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 50_000
    with pytest.raises(UserError, match="20000x10000 pixels, more than 150 megapixels"):
        images.open_photograph(tmp_path / "bomb.png")
    frames = [Image.fromarray(picture(16, 16, seed)) for seed in range(3)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="3 pages or frames"):
        images.open_photograph(tmp_path / "moving.webp")


def test_damaged_files_end_in_a_picture_or_one_line(tmp_path, picture):
    rng = np.random.default_rng(0)
    whole = []
    for suffix in (".jpg", ".png", ".tif", ".webp", ".avif"):
        images.write(tmp_path / f"whole{suffix}", picture(48, 64))
        whole.append((tmp_path / f"whole{suffix}").read_bytes())
    ends = {"picture": 0, "line": 0}
    for number in range(1000):
        data = bytearray(whole[number % len(whole)])
        kind = number // len(whole) % 3
        if kind == 0:  # bytes turned into others
            for place in rng.integers(0, len(data), rng.integers(1, 20)):
                data[place] = rng.integers(256)
        elif kind == 1:  # cut short
            del data[rng.integers(0, len(data)) :]
        else:  # a length in the header forged
            place = rng.integers(0, min(len(data), 200) - 4)
            data[place : place + 4] = rng.bytes(4)
        try:
            photograph = images.open_photograph(bytes(data), "damaged", megapixels=4)
            assert photograph.pixels.shape[-1] == 3
            ends["picture"] += 1
        except UserError as error:
            assert "\n" not in str(error) and str(error).startswith("damaged: ")
            ends["line"] += 1
    assert ends["line"] > 300 and ends["picture"] > 50
