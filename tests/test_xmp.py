"""XMP tells no other program to turn a picture again, and what does not fit is said."""

import io
import shutil
import struct
import subprocess

import numpy as np
import pytest
from PIL import Image

from tf_deblur.pictures import photographs

HEAD, MORE = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
TEXT = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
    'xmlns:xmpNote="http://ns.adobe.com/xmp/note/"%s</rdf:Description></rdf:RDF></x:xmpmeta>'
)
ATTRIBUTES = TEXT % (
    ' tiff:Orientation="6" tiff:ImageWidth="32" tiff:ImageLength="24" exif:PixelXDimension="32" '
    "exif:PixelYDimension='24' exif:ISO=\"6\">"
)
ELEMENTS = TEXT % (
    "><tiff:Orientation>6</tiff:Orientation><tiff:ImageWidth>32</tiff:ImageWidth>"
    "<tiff:ImageLength> 24</tiff:ImageLength><exif:PixelXDimension>32</exif:PixelXDimension>"
    "<exif:PixelYDimension>24</exif:PixelYDimension><exif:ISO>6</exif:ISO>"
)
GUID = "AB" * 16
EXTENDED = TEXT % f' xmpNote:HasExtendedXMP="{GUID}">'
EXIFTOOL = shutil.which("exiftool")


def segment(content):
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def jpeg(picture, *segments, **more):
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=95, **more)
    return data.getvalue()[:2] + b"".join(map(segment, segments)) + data.getvalue()[2:]


def read_xmp(data):
    made = Image.open(io.BytesIO(data))
    return (made.info.get("xmp") or made.info.get("XML:com.adobe.xmp", "").encode()).rstrip(b"\0")


@pytest.mark.parametrize("text", [ATTRIBUTES, ELEMENTS])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("after", [".jpg", ".png", ".tif", ".webp", ".avif"])
def test_orientation_and_size_are_the_results(picture, tmp_path, text, turned, after):
    exif = Image.Exif()
    exif[0x112] = 6
    data = jpeg(picture(24, 32), HEAD + text.encode(), **({"exif": exif} if turned else {}))
    photograph = photographs.open_photograph(data)
    assert photograph.pixels.shape == (32, 24, 3)  # by XMP alone too, as Pillow does
    made = photographs.encode(after, photograph.pixels, photograph)
    expected = text.replace('Width="32', 'Width="24').replace('Length="24', 'Length="32')
    expected = expected.replace('Orientation="6', 'Orientation="1').replace("n>6", "n>1", 1)
    expected = expected.replace('XDimension="32', 'XDimension="24')
    expected = expected.replace("YDimension='24", "YDimension='32")
    expected = expected.replace("th>32", "th>24").replace("th> 24", "th> 32")
    expected = expected.replace("XDimension>32", "XDimension>24")
    expected = expected.replace("YDimension>24", "YDimension>32")
    assert read_xmp(made) == expected.encode()
    if EXIFTOOL:
        (tmp_path / f"a{after}").write_bytes(made)
        line = [EXIFTOOL, "-s3", "-n", "-XMP:Orientation", "-XMP:ExifImageWidth", "-XMP:ISO"]
        told = subprocess.run([*line, tmp_path / f"a{after}"], capture_output=True, text=True)
        assert told.stdout.split() == ["1", "24", "6"]


@pytest.mark.parametrize("after", [".jpg", ".png", ".tif"])
def test_extended_xmp_is_kept_or_said_and_not_announced(picture, after):
    more = [MORE + GUID.encode() + struct.pack(">LL", 60, at) + bytes([65] * 30) for at in (0, 30)]
    photograph = photographs.open_photograph(jpeg(picture(24, 32), HEAD + EXTENDED.encode(), *more))
    made = photographs.encode(after, photograph.pixels, photograph)
    told = photographs.describe_losses(after, photograph)
    if after == ".jpg":
        assert told == "" and read_xmp(made) == EXTENDED.encode()
        places = [made.index(segment(one)) for one in more]
        assert made.index(HEAD) < places[0] < places[1] < made.index(b"\xff\xdb")
        assert np.asarray(Image.open(io.BytesIO(made))).shape == (24, 32, 3)
    else:
        assert told == "without its extended XMP"
        assert MORE not in made and read_xmp(made) == (TEXT % ">").encode()


@pytest.mark.parametrize("size, fits", [(65_000, True), (65_490, True), (66_000, False)])
def test_xmp_of_more_than_a_jpeg_holds_is_said(picture, size, fits):
    text, data = (TEXT % f">{'A' * size}")[: size - 12] + "</x:xmpmeta>", io.BytesIO()
    Image.fromarray(picture(24, 32)).save(data, "WEBP", xmp=text.encode())
    photograph = photographs.open_photograph(data.getvalue())
    told = photographs.describe_losses(".jpg", photograph)
    assert told == ("" if fits else "without its XMP, more than a JPEG holds")
    made = photographs.encode(".jpg", photograph.pixels, photograph)
    assert read_xmp(made) == (text.encode() if fits else b"")
    assert photographs.describe_losses(".png", photograph) == ""
    assert read_xmp(photographs.encode(".png", photograph.pixels, photograph)) == text.encode()
