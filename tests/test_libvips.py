"""What libvips cannot do is said in words, once."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import photographs


def encode(kind, picture, **more):
    data = io.BytesIO()
    Image.fromarray(picture).save(data, kind, **more)
    return data.getvalue()


def change(data, place, value):
    return data[:place] + value + data[place + len(value) :]


def damaged(picture):
    """{words expected: file} of each way that files are damaged."""
    png, jpeg, webp, tiff, gif = (
        encode(kind, picture(48, 64)) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF")
    )
    pixels = png.index(b"IDAT")
    size = int.from_bytes(png[pixels - 4 : pixels], "big")
    inside = change(png[pixels + 4 : pixels + 4 + size], 100, bytes(20))
    checked = inside + struct.pack(">L", zlib.crc32(b"IDAT" + inside))
    scan = jpeg.index(b"\xff\xda")
    return [
        ("it is empty", b""),
        ("no format that we know", b"not a picture"),
        (f"PNG data is cut short: {len(png) - 50} bytes of at least", png[:-50]),
        ("PNG data is cut short: 20 bytes of at least 33", png[:20]),
        (f"PNG data is cut short: {len(png) - 12} bytes, and no end", png[:-12]),
        ("the checksum of chunk 'IEND' at byte .* is wrong", change(png, len(png) - 1, b"\0")),
        (
            f"the checksum of chunk 'IDAT' at byte {pixels - 4} is wrong",
            change(png, pixels + 60, bytes(20)),
        ),
        ("the checksum of chunk 'IHDR' at byte 8 is wrong", change(png, 16, b"\0\0\0\1")),
        ("its compressed pixels make no picture", change(png, pixels + 4, checked)),
        (f"JPEG data is cut short: {scan} bytes are too few", jpeg[:scan]),
        ("JPEG data is cut short", jpeg[: len(jpeg) // 2]),
        ("JPEG data is damaged: .*SOS before SOF", jpeg[:2] + jpeg[scan:]),
        (f"WebP data is cut short: 300 bytes of {len(webp)}", webp[:300]),
        ("TIFF data is cut short or damaged: the list of its contents", tiff[:6] + b"\xff\xff"),
        ("GIF data is cut short", gif[: len(gif) // 2]),
    ]


def test_a_damaged_file_is_told_in_words(picture):
    for words, data in damaged(picture):
        with pytest.raises(UserError, match=words) as raised:
            photographs.open_photograph(data, "photo")
        told = str(raised.value)
        assert "\n" not in told and "unable to" not in told and "Vips" not in told


@pytest.mark.parametrize("suffix, longest", [(".webp", 16383), (".jpg", 65500), (".avif", 16384)])
def test_a_side_that_a_format_has_no_room_for_is_told(suffix, longest):
    with pytest.raises(UserError, match=f"which holds {longest} pixels a side"):
        photographs.encode(suffix, np.zeros((1, longest + 1, 3), np.uint8))
    if suffix != ".avif":  # slow
        assert photographs.encode(suffix, np.zeros((1, longest, 3), np.uint8))


def test_warnings_stay_off_the_terminal(tmp_path, picture):
    data = encode("JPEG", picture(64, 64))
    (tmp_path / "a.jpg").write_bytes(
        data[:-2] + bytes(5) + data[-2:]
    )  # extraneous bytes: a warning
    lines = [
        "import sys",
        "from tf_deblur.pictures import photographs",
        "kept = [photographs.open_photograph(name) for name in sys.argv[1:]]",
        "sys.kept = kept",  # until the process ends
    ]
    line = [sys.executable, "-c", "\n".join(lines), str(tmp_path / "a.jpg")]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


FILM = b"\0\0\0\x18ftypmp42" + bytes(12) + b"\xff\xd8\xff\xe0"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "behind, words",
    [
        (lambda second: b"", ""),
        (lambda second: bytes(100), ""),
        (lambda second: second, "without the picture behind it"),
        (lambda second: bytes(64) + second + second, "without the picture behind it"),
        (lambda second: FILM, "without the film behind it"),
        (lambda second: second + FILM, "without the picture and the film behind it"),
        (lambda second: b"SEFH a phone's notes SEFT", "without the 25 bytes behind it"),
    ],
)
def test_what_lies_behind_a_jpeg_is_told(tmp_path, picture, behind, words, progressive):
    whole = encode("JPEG", picture(48, 64), progressive=progressive)
    more = behind(encode("JPEG", picture(48, 64, seed=1)))
    (tmp_path / "a.jpg").write_bytes(whole + more)
    for source in (whole + more, tmp_path / "a.jpg"):
        photograph = photographs.open_photograph(source)
        assert photographs.describe_losses(".jpg", photograph) == words
        np.testing.assert_array_equal(photograph.pixels, photographs.open_photograph(whole).pixels)


def test_a_thumbnail_inside_a_jpeg_lies_not_behind_it(picture):
    small = encode("JPEG", picture(16, 16))
    data = encode("JPEG", picture(48, 64), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + small)
    assert photographs.describe_losses(".jpg", photographs.open_photograph(data)) == ""


def test_a_jpeg_that_ends_before_its_picture_does_is_refused_though_it_has_an_end(picture):
    data = encode("JPEG", picture(70, 100))
    for keep in (0.5, 0.9):
        cut = data[: int(keep * len(data))] + b"\xff\xd9"
        with pytest.raises(BadPicture, match="end too early"):
            photographs.open_photograph(cut, "cut.jpg")


def test_a_picture_that_pillow_refuses_is_no_whole_one(picture):
    jpeg, gif = encode("JPEG", picture(240, 320), quality=80), encode("GIF", picture(48, 64))
    rng, refused = np.random.default_rng(0), 0
    for number in range(200):
        data = bytearray(jpeg if number % 2 else gif)
        for place in rng.integers(200, len(data), 15):
            data[place] = rng.integers(256)
        try:
            photographs.open_photograph(bytes(data))
        except UserError:
            refused += 1
        else:
            Image.open(io.BytesIO(data)).load()
    assert 0 < refused < 200
