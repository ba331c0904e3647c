import numpy as np
import pytest
from PIL import Image

from tf_deblur.errors import UserError
from tf_deblur.pictures import photographs


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
