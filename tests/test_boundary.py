"""Whatever a file is, `pictures` gives a picture or a BadPicture, and takes its name as a name."""

import os
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from test_bmp import bmp

from tf_deblur import files
from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import formats, photographs

CLAIMS = [(2**31 - 1, 1), (1, -(2**31)), (-1, 5), (0, 0), (2**31 - 1, 2**31 - 1)]


@pytest.mark.parametrize("width, height", CLAIMS)
def test_a_bmp_that_claims_anything_is_one_line(tmp_path, width, height):
    data = bmp(1, 1, 24, b"", header=40)
    data = data[:18] + struct.pack("<ll", width, height) + data[26:]
    (tmp_path / "a.bmp").write_bytes(data)
    for read in (photographs.open_photograph, photographs.count_pixels):
        with pytest.raises(BadPicture) as raised:
            read(tmp_path / "a.bmp")
        assert str(raised.value).startswith(f"{tmp_path}/a.bmp: ")
        assert "\n" not in str(raised.value) and raised.value.name == tmp_path / "a.bmp"


def test_files_of_libvips_own_and_others_are_no_photographs(tmp_path, picture):
    import pyvips

    image = pyvips.Image.new_from_array(picture(8, 8))
    for suffix in (".v", ".csv", ".mat", ".dz"):
        try:
            image.write_to_file(str(tmp_path / f"made{suffix}"))
        except pyvips.Error:
            continue
    (tmp_path / "made.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9"/>')
    (tmp_path / "made.ppm").write_bytes(b"P6 1 1 255\n\1\2\3")
    made = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(made) >= 3
    for path in made:
        path = path.rename(path.with_name(f"{path.name}.jpg"))
        with pytest.raises(BadPicture, match="no format that we know"):
            photographs.open_photograph(path)


@pytest.mark.parametrize("name", ["x.jpg[shrink=2]", "a[page=1].png", "[n=-1]", "x.tif[subifd=0]"])
def test_a_name_is_a_name(tmp_path, picture, name):
    Image.fromarray(picture(16, 24)).save(tmp_path / name, "PNG")
    np.testing.assert_array_equal(photographs.read(tmp_path / name), picture(16, 24))
    assert photographs.count_pixels(tmp_path / name) == 16 * 24
    with pytest.raises(BadPicture, match="no such file"):
        photographs.read(tmp_path / "x.jpg[shrink=4]")


@pytest.mark.parametrize("error", [RuntimeError, KeyError, SystemError, TypeError])
def test_whatever_a_library_raises_is_one_line(tmp_path, picture, monkeypatch, error):
    def fail(*_):
        raise error("first line\nsecond")

    Image.fromarray(picture(16, 24)).save(tmp_path / "a.bmp")
    monkeypatch.setattr("PIL.BmpImagePlugin.BmpImageFile", fail)
    with pytest.raises(BadPicture, match="a.bmp: not a whole picture") as raised:
        photographs.open_photograph(tmp_path / "a.bmp")
    assert "\n" not in str(raised.value)


def test_short_memory_is_no_fault_of_the_photograph(tmp_path, picture, monkeypatch):
    def fail(*_):
        raise MemoryError

    Image.fromarray(picture(16, 24)).save(tmp_path / "a.bmp")
    monkeypatch.setattr("PIL.BmpImagePlugin.BmpImageFile", fail)
    with pytest.raises(MemoryError):
        photographs.open_photograph(tmp_path / "a.bmp")


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".webp", ".bmp"])
def test_a_file_that_is_cut_while_it_is_read_ends_no_run(tmp_path, picture, monkeypatch, suffix):
    path, real = tmp_path / f"a{suffix}", formats.open_image

    def cut(data):
        os.truncate(path, 0)
        return real(data)

    Image.fromarray(picture(200, 300)).save(path)
    expected = photographs.read(path)
    monkeypatch.setattr(formats, "open_image", cut)
    np.testing.assert_array_equal(photographs.read(path), expected)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
def test_pixels_are_counted_without_reading_them(tmp_path, picture, suffix):
    path = tmp_path / f"a[n=-1]{suffix}"
    Image.fromarray(picture(16, 24)).save(path)
    os.truncate(path, 50_000_000)
    tracemalloc.start()
    count = photographs.count_pixels(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 16 * 24 and peak < 1e6


@pytest.mark.parametrize(
    "start",
    [
        b"\x1aE\xdf\xa3 a Matroska film",
        b"RIFF\0\0\0\0AVI LIST",
        *(b"\0\0\0\x18ftyp" + brand for brand in (b"isom", b"mp42", b"qt  ", b"M4V ", b"3gp5")),
    ],
)
def test_what_begins_like_no_picture_is_not_read(tmp_path, start):
    path = tmp_path / "film.jpg"
    path.write_bytes(start)
    os.truncate(path, 200_000_000)
    tracemalloc.start()
    with pytest.raises(BadPicture, match="no format that we know"):
        photographs.open_photograph(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


@pytest.mark.parametrize("write", [lambda path, data: None, lambda path, data: data[:-40]])
def test_what_was_not_written_whole_replaces_nothing(tmp_path, picture, monkeypatch, write):
    path, real = tmp_path / "a.png", type(tmp_path).write_bytes
    photographs.write(path, picture(48, 64))
    before = path.read_bytes()
    monkeypatch.setattr(
        type(tmp_path), "write_bytes", lambda path, data: real(path, write(path, data) or b"")
    )
    with pytest.raises(UserError, match="a.png"):
        photographs.write(path, picture(48, 64, seed=1))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.png"] and not files._parts
