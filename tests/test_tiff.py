"""TIFF files: what another reader says that they show, or one line."""

import io
import struct
from itertools import product

import numpy as np
import pytest
import tifffile
from PIL import Image

from tf_deblur.errors import BadPicture
from tf_deblur.pictures import photographs

CODECS = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma", "jpeg", "group4")


def encode(picture, mode="RGB", **more):
    data = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(data, "TIFF", **more)
    return data.getvalue()


def by_tifffile(*pages):
    """Each page is an array and how it is written."""
    data = io.BytesIO()
    with tifffile.TiffWriter(data) as file:
        for array, how in pages:
            file.write(array, metadata=None, **how)
    return data.getvalue()


def exists(codec, mode):
    """Whether there are such files: bits alone are faxed, and no JPEG has a palette."""
    return (codec == "group4") == (mode == "1") and (codec, mode) != ("jpeg", "P")


MODES = ["RGB", "RGBA", "L", "LA", "P", "1", "YCbCr"]


@pytest.mark.parametrize("codec, mode", [it for it in product(CODECS, MODES) if exists(*it)])
def test_pixels_are_those_that_pillow_reads(picture, codec, mode):
    data = encode(picture(48, 64), mode, compression=codec)
    photograph = photographs.open_photograph(data)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    np.testing.assert_array_equal(photograph.pixels, expected[..., :3])
    if photograph.alpha is not None:
        np.testing.assert_array_equal(photograph.alpha, expected[..., 3])
    assert (photograph.alpha is not None) == (mode in ("RGBA", "LA"))
    assert photograph.grey == (mode in ("L", "LA", "1"))


@pytest.mark.parametrize("codec", ["zstd", "lzma"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_what_pillow_reads_is_upright_and_keeps_16_bits_of_grey(picture, codec, orientation):
    array = picture(24, 32)[..., 0].astype(np.uint16) * 257 + 3
    data = io.BytesIO()
    Image.fromarray(array).save(data, "TIFF", compression=codec, tiffinfo={274: orientation})
    photograph = photographs.open_photograph(data.getvalue())
    expected = np.rot90(array, -1) if orientation == 6 else array
    np.testing.assert_array_equal(photograph.pixels[..., 0], expected)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("colours", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_by_lzma_is_that_of_no_codec(picture, order, colours, dtype):
    array = picture(24, 32)[..., 0].astype(dtype) * (np.iinfo(dtype).max // 255)
    data = io.BytesIO()
    how = {"photometric": colours, "compression": "lzma"}
    tifffile.imwrite(data, array, byteorder=order, metadata=None, **how)
    if (order, colours, dtype) == (">", "miniswhite", np.uint16):  # which Pillow does not know
        with pytest.raises(BadPicture, match="not read|unknown pixel mode"):
            photographs.open_photograph(data.getvalue())
        return
    photograph = photographs.open_photograph(data.getvalue())
    expected = array if colours == "minisblack" else np.iinfo(dtype).max - array
    np.testing.assert_array_equal(photograph.pixels[..., 0], expected)
    assert photograph.grey and photograph.pixels.dtype == dtype


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "dtype, words",
    [
        ("f4", "signed numbers or floats"),
        ("i1", "signed numbers or floats"),
        ("i2", "signed numbers or floats"),
        ("i4", "signed numbers or floats"),
        ("u4", "32 bits"),
    ],
)
def test_grey_that_pillow_would_clip_is_refused(order, dtype, words):
    array = (np.linspace(0, 1, 24 * 32) * (1 if dtype == "f4" else 127)).reshape(24, 32)
    data = io.BytesIO()
    how = {"photometric": "minisblack", "compression": "lzma"}
    tifffile.imwrite(data, array.astype(dtype), byteorder=order, metadata=None, **how)
    with pytest.raises(BadPicture, match=f"a TIFF of {words} by LZMA, which is not read"):
        photographs.open_photograph(data.getvalue())


@pytest.mark.parametrize("codec", [*CODECS[1:6], "jpeg"])
def test_what_is_not_whole_is_refused(picture, codec):
    data = encode(picture(96, 64), compression=codec, strip_size=64 * 3 * 16)
    assert photographs.open_photograph(data).pixels.shape == (96, 64, 3)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offsets = file.pages[0].dataoffsets
    place = data.index(struct.pack("<6L", *offsets)) + 12
    elsewhere = data[:place] + b"\xff\xff\xff\x7f" + data[place + 4 :]
    begin = offsets[3]
    if codec == "packbits":  # any bytes are pixels
        damaged = [elsewhere]
    else:
        damaged = [elsewhere, data[:begin] + bytes(60) + data[begin + 60 :]]
    for data in damaged:
        with pytest.raises(BadPicture, match="photo: not a whole picture"):
            photographs.open_photograph(data, "photo")


def test_half_a_file_is_refused(picture):
    data = encode(picture(96, 64))
    with pytest.raises(BadPicture, match="cut short"):
        photographs.open_photograph(data[: len(data) // 2])


@pytest.mark.parametrize("codec", [None, "zlib"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_tiles_that_are_missing_are_no_black(picture, codec, bigtiff):
    sharp, file = picture(70, 100), io.BytesIO()
    tifffile.imwrite(file, sharp, tile=(32, 32), compression=codec, bigtiff=bigtiff)
    data = file.getvalue()
    np.testing.assert_array_equal(photographs.open_photograph(data, "whole").pixels, sharp)
    with tifffile.TiffFile(io.BytesIO(data)) as whole:
        tags = whole.pages[0].tags
        last = max(tags["TileOffsets"].value)
        sizes = tags["TileByteCounts"]
    for cut in (data[: len(data) // 3], data[: last + 1], data[:-1]):
        with pytest.raises(BadPicture):
            photographs.open_photograph(cut, "cut")
    place = sizes.valueoffset
    none = bytes({3: 2, 4: 4, 16: 8}[int(sizes.dtype)])
    with pytest.raises(BadPicture, match="tiles are not all there"):
        photographs.open_photograph(data[:place] + none + data[place + len(none) :], "no size")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bigtiff", [False, True])
def test_channels_that_are_missing_are_no_black(picture, order, bigtiff):
    how = {"photometric": "rgb", "planarconfig": "separate"}
    planes = np.ascontiguousarray(picture(48, 64).transpose(2, 0, 1))
    data = io.BytesIO()
    tifffile.imwrite(data, planes, bigtiff=bigtiff, byteorder=order, **how)
    data = data.getvalue()
    np.testing.assert_array_equal(photographs.open_photograph(data).pixels, picture(48, 64))
    with pytest.raises(BadPicture, match="cut short"):
        photographs.open_photograph(data[: len(data) - 48 * 64])


def test_ycbcr_is_rgb_by_the_formula_of_jpeg(picture):
    rgb = picture(24, 32).astype(float)
    luma = rgb @ [0.299, 0.587, 0.114]
    chroma = [128 + (rgb[..., 2] - luma) / 1.772, 128 + (rgb[..., 0] - luma) / 1.402]
    array = np.rint(np.dstack([luma, *chroma])).clip(0, 255).astype(np.uint8)
    more = [(530, 3, 2, (1, 1), True)]
    data = by_tifffile((array, {"photometric": "ycbcr", "extratags": more}))
    read = photographs.open_photograph(data).pixels
    assert np.abs(read - rgb).max() <= 2 and np.abs(read - rgb).mean() < 0.7
    levels = (532, 5, 6, (15, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1), True)
    data = by_tifffile((array, {"photometric": "ycbcr", "extratags": [*more, levels]}))
    with pytest.raises(BadPicture, match="limited range"):
        photographs.open_photograph(data)


def test_smaller_copies_behind_the_picture_are_left_and_said(picture):
    page = (picture(48, 64), {"photometric": "rgb"})
    small = (picture(24, 32), {"photometric": "rgb", "subfiletype": 1})
    for more, words in (([], ""), ([small], "smaller page"), ([small] * 2, "2 smaller pages")):
        photograph = photographs.open_photograph(by_tifffile(page, *more))
        np.testing.assert_array_equal(photograph.pixels, page[0])
        told = photographs.describe_losses(".tif", photograph)
        assert told == (words and f"without the {words} behind it")
    with pytest.raises(BadPicture, match="2 pages or frames"):
        photographs.open_photograph(by_tifffile(page, small, page))
    with pytest.raises(BadPicture, match="begins with a preview"):
        photographs.open_photograph(by_tifffile(small, page))


@pytest.mark.parametrize(
    "reason, array, how",
    [
        ("Lab colours", lambda a: a, {"photometric": "cielab"}),
        ("Lab colours", lambda a: a.astype(np.uint16), {"photometric": "cielab"}),
        (
            "tiles for each channel",
            lambda a: a.transpose(2, 0, 1).copy(),
            {"photometric": "rgb", "planarconfig": "separate", "tile": (16, 16)},
        ),
        ("3 channels of float", lambda a: a.astype(np.float32), {"photometric": "rgb"}),
    ],
)
def test_what_is_not_supported_is_not_called_damaged(picture, reason, array, how):
    with pytest.raises(BadPicture, match=reason) as raised:
        photographs.open_photograph(by_tifffile((array(picture(48, 64)), how)))
    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize("codec", [33004, 34712, 50001, 50002])
def test_a_codec_that_no_library_here_has_is_named(picture, codec):
    data = bytearray(encode(picture(24, 32), compression="raw"))
    place = data.index(struct.pack("<HHL", 259, 3, 1)) + 8
    data[place : place + 2] = struct.pack("<H", codec)
    with pytest.raises(BadPicture, match=f"compression {codec}, which is not read"):
        photographs.open_photograph(bytes(data))


@pytest.mark.parametrize("extra, alpha", [(0, False), (1, True), (2, True)])
def test_a_fourth_channel_is_transparency_where_the_file_says_so(extra, alpha):
    """As Pillow reads it: of no stated meaning, it is nothing."""
    array = np.full((16, 16, 4), (90, 60, 30, 120), np.uint8)
    data = by_tifffile((array, {"photometric": "rgb", "extrasamples": [extra]}))
    photograph = photographs.open_photograph(data)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    np.testing.assert_array_equal(photograph.pixels, expected[..., :3])
    assert (photograph.alpha is not None) == alpha == (expected[0, 0, 3] < 255)
    told = photographs.describe_losses(".tif", photograph)
    assert told == "" if alpha else told == "without a channel of no known meaning"


def test_a_palette_that_was_cut_off_is_refused(picture):
    data = encode(picture(48, 64), "P")
    place = data.rindex(struct.pack("<HHL", 320, 3, 768)) + 8
    (colours,) = struct.unpack_from("<L", data, place)
    moved = struct.pack("<L", len(data) - 600)
    for broken in (data[: colours + 600], data[:place] + moved + data[place + 4 :]):
        with pytest.raises(BadPicture, match="cut short|damaged"):
            photographs.open_photograph(broken)


@pytest.mark.parametrize("tag, value", [(262, 29186), (262, 3), (277, 1)])
def test_colours_that_cannot_be_are_refused(picture, tag, value):
    """A number that no TIFF has, a palette that is not there, and two channels too few."""
    data = encode(picture(24, 32), compression="raw")
    place = data.index(struct.pack("<HHL", tag, 3, 1)) + 8
    with pytest.raises(BadPicture, match="not all there|damaged"):
        photographs.open_photograph(data[:place] + struct.pack("<H", value) + data[place + 2 :])


def test_a_text_that_lies_past_the_end_is_damage(picture):
    data = io.BytesIO()
    Image.fromarray(picture(24, 32)).save(data, "TIFF", tiffinfo={305: "a long name"})
    data = bytearray(data.getvalue())
    place = data.index(struct.pack("<HH", 305, 2)) + 8
    photographs.open_photograph(bytes(data))
    struct.pack_into("<L", data, place, len(data) - 4)
    with pytest.raises(BadPicture, match="not all there"):
        photographs.open_photograph(bytes(data))


@pytest.mark.parametrize(
    "tag, kind, count, value",
    [
        (338, 3, 0, 0),
        (532, 5, 0, 0),
        (254, 9, 1, 0),
        (254, 2, 1, 0),
        (284, 6, 1, 1),
        (284, 8, 1, 1),
        (339, 8, 1, 1),
    ],
)
def test_a_tag_of_no_values_or_of_an_unusual_kind_is_no_damage(picture, tag, kind, count, value):
    """As Pillow, too, reads it."""
    data = encode(picture(24, 32), compression="tiff_lzw")
    (start,) = struct.unpack_from("<L", data, 4)
    (size,) = struct.unpack_from("<H", data, start)
    entries = [data[place : place + 12] for place in range(start + 2, start + 2 + 12 * size, 12)]
    entries = [entry for entry in entries if struct.unpack_from("<H", entry) != (tag,)]
    entries.append(struct.pack("<HHLL", tag, kind, count, value))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    data += bytes(len(data) % 2)
    head = data[:4] + struct.pack("<L", len(data)) + data[8:]
    data = head + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), picture(24, 32))
    np.testing.assert_array_equal(photographs.open_photograph(data).pixels, picture(24, 32))
