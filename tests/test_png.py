"""PNG files: what lies in their chunks, wherever it lies, is kept or said."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tf_deblur.errors import BadPicture
from tf_deblur.pictures import photographs

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6">Title</x:xmpmeta>'
SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
PQ, OF_SRGB = bytes([9, 16, 0, 1]), bytes([1, 13, 0, 1])


def chunk(kind, content):
    checksum = struct.pack(">L", zlib.crc32(kind + content))
    return struct.pack(">L", len(content)) + kind + content + checksum


def with_chunks(picture, *chunks, late=False):
    """A PNG file with chunks before its pixels, or behind them."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    data = data.getvalue()
    place = data.index(b"IEND") - 4 if late else 33
    return data[:place] + b"".join(chunks) + data[place:]


def exif():
    tags = Image.Exif()
    tags[0x10F], tags[0x112] = "A camera", 6
    return tags.tobytes()


def raw_profile(name, content, packed):
    text = f"\n{name}\n{len(content):8}\n".encode()
    digits = content.hex().encode()
    text += b"".join(digits[at : at + 72] + b"\n" for at in range(0, len(digits), 72))
    key = b"Raw profile type " + name.encode() + b"\0"
    return (
        chunk(b"zTXt", key + b"\0" + zlib.compress(text)) if packed else chunk(b"tEXt", key + text)
    )


ITXT = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
PACKED = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP))
IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0" + XMP
HOW = {
    "chunks": [chunk(b"eXIf", exif()[6:]), ITXT],
    "a packed text": [chunk(b"eXIf", exif()[6:]), PACKED],
    "raw": [raw_profile("exif", exif(), False), raw_profile("xmp", XMP, False)],
    "packed": [raw_profile("exif", exif(), True), raw_profile("xmp", XMP, True)],
    "APP1": [raw_profile("APP1", exif(), True), raw_profile("APP1", IN_JPEG, True)],
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("after", [".png", ".jpg", ".tif", ".webp"])
def test_exif_and_xmp_count_wherever_they_lie(picture, how, late, after):
    data = with_chunks(picture(24, 32), *HOW[how], late=late)
    photograph = photographs.open_photograph(data)
    np.testing.assert_array_equal(photograph.pixels, np.rot90(picture(24, 32), -1))
    made = Image.open(io.BytesIO(photographs.encode(after, photograph.pixels, photograph)))
    assert made.getexif()[0x10F] == "A camera" and made.getexif()[0x112] == 1
    told = made.info.get("xmp") or made.info["XML:com.adobe.xmp"].encode()
    assert told.rstrip(b"\0") == XMP.replace(b'"6"', b'"1"')
    assert "texts" not in photographs.describe_losses(after, photograph)


@pytest.mark.parametrize("late", [False, True])
def test_texts_are_kept_in_a_png_and_said_of_others(picture, late):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a photo of a cat, steps 20", zip=True)
    texts.add_text("Author", "Me")
    texts.add_itxt("Description", "Straße", lang="de", tkey="Beschreibung")
    plain, data = with_chunks(picture(24, 32)), io.BytesIO()
    Image.fromarray(picture(24, 32)).save(data, "PNG", pnginfo=texts)
    data = data.getvalue()
    if late:
        head, end = data.index(b"IDAT") - 4, plain.index(b"IEND") - 4
        data = plain[:end] + data[33:head] + plain[end:]
    photograph = photographs.open_photograph(data)
    assert photographs.describe_losses(".png", photograph) == ""
    made = Image.open(io.BytesIO(photographs.encode(".png", photograph.pixels, photograph)))
    expected = {"parameters": "a photo of a cat, steps 20", "Author": "Me", "Description": "Straße"}
    assert made.text == expected and made.text["Description"].tkey == "Beschreibung"
    assert photographs.describe_losses(".jpg", photograph) == "without its texts"
    stripped = photographs.strip_metadata(photograph)
    made = Image.open(io.BytesIO(photographs.encode(".png", stripped.pixels, stripped)))
    assert made.text == {} and photographs.describe_losses(".jpg", stripped) == ""


@pytest.mark.parametrize(
    "chunks, other",
    [
        ([(b"cICP", PQ)], True),
        ([(b"cICP", OF_SRGB)], False),
        ([(b"gAMA", struct.pack(">L", 100_000))], True),
        ([(b"gAMA", struct.pack(">L", 45455)), (b"cHRM", struct.pack(">8L", *SRGB))], False),
        ([(b"gAMA", struct.pack(">L", 45455)), (b"cHRM", struct.pack(">8L", *P3))], True),
        ([(b"sRGB", b"\0"), (b"cHRM", struct.pack(">8L", *P3))], False),
    ],
)
def test_colours_stay_in_a_png_and_are_said_of_others(picture, chunks, other):
    data = with_chunks(picture(24, 32), *(chunk(*one) for one in chunks))
    photograph = photographs.open_photograph(data)
    for kept in (photograph, photographs.strip_metadata(photograph)):
        made = photographs.encode(".png", kept.pixels, kept)
        if other or kept is photograph:
            assert all(chunk(*one) in made[: made.index(b"IDAT")] for one in chunks)
        assert photographs.describe_losses(".png", kept) == ""
        told = "its HDR or wide colours taken for sRGB" if other else ""
        assert photographs.describe_losses(".jpg", kept) == told
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(made))), picture(24, 32))


@pytest.mark.parametrize("damage", [b"", b"\n", b"\nexif\n  9\nno digits", b"\xff" * 9])
def test_a_damaged_text_leaves_the_picture_whole(picture, damage):
    for kind in (b"tEXt", b"zTXt", b"iTXt"):
        for name in (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0", b""):
            data = with_chunks(picture(24, 32), chunk(kind, name + damage), late=True)
            photograph = photographs.open_photograph(data)
            np.testing.assert_array_equal(photograph.pixels, picture(24, 32))
            photographs.encode(".png", photograph.pixels, photograph)


def test_a_text_that_unpacks_to_more_than_a_cameras_is_cut(picture):
    bomb = zlib.compress(bytes(100_000_000))
    bomb = chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb)
    photograph = photographs.open_photograph(with_chunks(picture(24, 32), bomb))
    assert not photograph.header.get_typeof("exif-data")


def test_an_animated_png_is_refused_as_other_animations_are(picture):
    frames, data = [Image.fromarray(picture(16, 16, seed)) for seed in range(3)], io.BytesIO()
    frames[0].save(data, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(BadPicture, match="3 pages or frames; one picture a file is wanted"):
        photographs.open_photograph(data.getvalue())
