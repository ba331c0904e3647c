import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, IptcImagePlugin

from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import photographs, pillow


@pytest.fixture
def picture():
    ramp = np.linspace(0, 255, 40 * 60 * 3).reshape(40, 60, 3)
    return ramp.astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_formats_come_back_exactly_and_in_rgb_order(tmp_path, picture, suffix):
    path = tmp_path / f"new folder/größe{suffix}"
    photographs.write(path, picture)
    np.testing.assert_array_equal(photographs.read(path), picture)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
def test_lossy_formats_come_back_nearly(tmp_path, picture, suffix):
    photographs.write(tmp_path / f"photo{suffix}", picture)
    again = photographs.read(tmp_path / f"photo{suffix}")
    assert np.abs(again.astype(int) - picture).mean() < 2


def test_16_bits_stay_16_bits_where_the_format_has_them(tmp_path, picture):
    deep = picture.astype(np.uint16) * 257
    deep[:5] += 3  # less than half an 8-bit level
    photographs.write(tmp_path / "deep.png", deep)
    np.testing.assert_array_equal(photographs.read(tmp_path / "deep.png"), deep)
    photographs.write(tmp_path / "deep.webp", deep)
    assert photographs.read(tmp_path / "deep.webp").dtype == np.uint8


def test_a_photograph_is_turned_upright(tmp_path, picture):
    photo = Image.fromarray(picture)
    exif = photo.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    photo.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(photographs.read(tmp_path / "turned.png"), np.rot90(picture, -1))


def test_grey_becomes_three_equal_channels_and_alpha_is_dropped(tmp_path, picture):
    Image.fromarray(picture[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(
        photographs.read(tmp_path / "grey.png"), np.repeat(picture[..., :1], 3, axis=-1)
    )
    Image.fromarray(np.dstack([picture, picture[..., 0]])).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(photographs.read(tmp_path / "alpha.png"), picture)


def test_what_cannot_be_read_is_named_in_one_line(tmp_path, picture):
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    photographs.write(tmp_path / "whole.png", picture)
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:300])
    Image.fromarray(picture[..., 0].astype(np.float32)).save(tmp_path / "floats.tif")
    wrong = {"missing.jpg": "no such file", ".": "a folder"}
    wrong.update(dict.fromkeys(["text.jpg", "empty.png", "cut.png"], "use PNG"))
    wrong["floats.tif"] = "8 or 16 bits"
    for name, message in wrong.items():
        with pytest.raises(UserError, match=message) as raised:
            photographs.read(tmp_path / name)
        assert str(raised.value).startswith(str(tmp_path / name)) and "\n" not in str(raised.value)


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path, picture):
    (tmp_path / "file").touch()
    for name in ("photo.gif", "photo", "file/photo.png"):
        with pytest.raises(UserError, match=name):
            photographs.write(tmp_path / name, picture)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def chunk(kind, content):
    checksum = struct.pack(">L", zlib.crc32(kind + content))
    return struct.pack(">L", len(content)) + kind + content + checksum


@pytest.mark.parametrize(
    "inside, behind, told",
    [
        (chunk(b"tIME", bytes((7, 231, 1, 2, 3, 4, 5))), b"", "without its time of change"),
        (chunk(b"bKGD", bytes(6)), b"", "without its background colour"),
        (chunk(b"pHYs", struct.pack(">LLB", 2, 1, 0)), b"", "without the shape of its pixels"),
        (chunk(b"pHYs", struct.pack(">LLB", 3000, 3000, 1)), b"", ""),
        (b"", b"more", "without the 4 bytes behind it"),
    ],
)
def test_what_a_png_holds_and_its_result_does_not_is_said(picture, inside, behind, told):
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    data = data.getvalue()
    photograph = photographs.open_photograph(data[:33] + inside + data[33:] + behind)
    assert photographs.describe_losses(".png", photograph) == told


def test_a_jpegs_comment_is_kept_or_said(picture):
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", comment=b"by the river")
    photograph = photographs.open_photograph(data.getvalue())
    made = photographs.encode(".jpg", photograph.pixels, photograph)
    assert Image.open(io.BytesIO(made)).info["comment"] == b"by the river"
    assert photographs.describe_losses(".jpg", photograph) == ""
    assert photographs.describe_losses(".png", photograph) == "without its comment"


@pytest.mark.parametrize("suffix, kept", [(".jpg", True), (".tif", True), (".png", False)])
def test_iptc_is_kept_or_said(picture, suffix, kept):
    words = b"\x1c\2\x69\0\x0cBy the river"  # record 2, 105: the headline
    block = b"Photoshop 3.0\0" + b"8BIM\4\4\0\0" + struct.pack(">L", len(words)) + words + b"\0"
    data = photographs.encode(".jpg", picture)
    data = data[:2] + struct.pack(">HH", 0xFFED, len(block) + 2) + block + data[2:]
    photograph = photographs.open_photograph(data)
    made = Image.open(io.BytesIO(photographs.encode(suffix, photograph.pixels, photograph)))
    told = IptcImagePlugin.getiptcinfo(made) if kept else None
    assert (told and told[2, 105]) == (b"By the river" if kept else None)
    assert photographs.describe_losses(suffix, photograph) == "without its IPTC" * (not kept)
    if suffix == ".tif":  # and back
        again = photographs.open_photograph(photographs.encode(suffix, picture, photograph))
        back = Image.open(io.BytesIO(photographs.encode(".jpg", picture, again)))
        assert IptcImagePlugin.getiptcinfo(back)[2, 105] == b"By the river"


def make_block(number, content, name=b"\0\0"):
    size = struct.pack(">L", len(content))
    return b"8BIM" + struct.pack(">H", number) + name + size + content + bytes(len(content) % 2)


def add_segments(data, *segments):
    heads = [struct.pack(">HH", 0xFFED, len(each) + 16) + b"Photoshop 3.0\0" for each in segments]
    return data[:2] + b"".join(map(bytes.__add__, heads, segments)) + data[2:]


def test_photoshops_blocks_of_any_number_of_segments_are_kept_or_said(picture):
    """As Pillow reads them, of a JPEG and of a TIFF's tag 34377."""
    path, headline = make_block(2000, b"8BIM\4\4" * 5), b"\x1c\2\x69\0\x0cBy the river"
    jpeg = photographs.encode(".jpg", picture)
    data = add_segments(jpeg, path, make_block(0x404, headline, name=b"\3two"))
    photograph = photographs.open_photograph(data)
    made = Image.open(io.BytesIO(photographs.encode(".jpg", picture, photograph)))
    assert made.info["photoshop"] == {2000: b"8BIM\4\4" * 5, 0x404: headline}
    tiff = photographs.encode(".tif", picture, photograph)
    made = Image.open(io.BytesIO(tiff))
    assert made.tag_v2[34377] == path
    assert IptcImagePlugin.getiptcinfo(made)[2, 105] == b"By the river"
    again = photographs.encode(".jpg", picture, photographs.open_photograph(tiff))
    assert Image.open(io.BytesIO(again)).info["photoshop"][2000] == b"8BIM\4\4" * 5
    told = photographs.describe_losses(".png", photograph)
    assert told == "without its IPTC, without its Photoshop data"
    photograph = photographs.open_photograph(add_segments(jpeg, path))
    assert photographs.describe_losses(".png", photograph) == "without its Photoshop data"
    assert photographs.describe_losses(".tif", photograph) == ""


def test_iptc_longer_than_a_segment_goes_into_a_jpeg(picture):
    words = b"".join(b"\x1c\2\x78" + struct.pack(">H", 2000) + b"A" * 2000 for _ in range(40))
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "TIFF", tiffinfo={33723: words})
    photograph = photographs.open_photograph(data.getvalue())
    made = photographs.encode(".jpg", picture, photograph)
    assert photographs.describe_losses(".jpg", photograph) == ""
    segments = [part[:65519] for part in made.split(b"Photoshop 3.0\0")[1:]]
    assert b"".join(segments)[12:].startswith(words)
    again = photographs.encode(".tif", picture, photographs.open_photograph(made))
    assert Image.open(io.BytesIO(again)).tag_v2[33723].startswith(words)


@pytest.mark.parametrize("suffix, kept", [(".webp", False), (".avif", False), (".png", True)])
def test_a_resolution_that_a_format_does_not_hold_is_said(picture, suffix, kept):
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", dpi=(300, 300))
    photograph = photographs.open_photograph(data.getvalue())
    told = photographs.describe_losses(suffix, photograph)
    assert told == "without its resolution" * (not kept)


@pytest.mark.parametrize("clear", [None, 1])
def test_a_gif_smaller_than_its_screen_is_what_pillow_shows(clear):
    """What no frame covers has the background's colour, or none where one colour is clear."""
    more = {} if clear is None else {"transparency": clear}
    small = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) % 3, "P")
    small.putpalette([200, 100, 50, 0, 0, 255, 9, 9, 9])
    data = io.BytesIO()
    small.save(data, "GIF", **more)
    data = bytearray(data.getvalue())
    data[6:10] = struct.pack("<HH", 12, 9)
    photograph = photographs.open_photograph(bytes(data))
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert expected.shape == (9, 12, 4)
    np.testing.assert_array_equal(photograph.pixels, expected[..., :3])
    if clear is not None:
        np.testing.assert_array_equal(photograph.alpha, expected[..., 3])
    assert (photograph.alpha is None) == (clear is None)


def test_what_was_not_written_whole_does_not_replace_a_picture(tmp_path, picture, monkeypatch):
    path, another = tmp_path / "photo.png", tmp_path / "small.png"
    photographs.write(path, picture)
    photographs.write(another, picture[:, ::2])
    before, wrong = path.read_bytes(), another.read_bytes()
    for data, words in ((wrong, "not written whole"), (before[:-300], "not a whole picture")):
        monkeypatch.setattr(photographs, "encode", lambda *_, data=data: data)
        with pytest.raises(BadPicture, match=words):
            photographs.write(path, picture)
        assert path.read_bytes() == before and len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_second_opinion_is_had_of_pictures_of_any_size(picture, monkeypatch, kind):
    """Pillow refuses to open what has twice its limit of pixels."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, kind)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    pillow.check(data.getvalue(), kind)
    with pytest.raises(OSError, match="truncated"):
        pillow.check(data.getvalue()[: len(data.getvalue()) * 3 // 4], kind)
