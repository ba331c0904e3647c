"""EXIF comes through every format byte for byte: what makers' notes hold, only they know."""

import io
import json
import shutil
import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from tf_deblur.pictures import directories, exif, heif, photographs, tiff
from tf_deblur.pictures.libvips import pyvips

try:
    import pillow_heif

    pillow_heif.register_heif_opener()
except ImportError:
    pillow_heif = None

FORMATS = (".jpg", ".png", ".webp", ".tif", ".avif")
HEIC = pytest.param(
    ".heic", marks=pytest.mark.skipif(not pillow_heif, reason="pillow-heif is not installed")
)
EXIFTOOL = shutil.which("exiftool")
wants_exiftool = pytest.mark.skipif(
    not EXIFTOOL, reason="exiftool is not installed; on Debian: apt install libimage-exiftool-perl"
)
ASCII, SHORT, LONG, RATIONAL, ANY, SIGNED = 2, 3, 4, 5, 7, 9
SIZES = {ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, ANY: 1, SIGNED: 4}


def directory(base, order, tags, link=0):
    """{tag: (kind, bytes of its values)} as bytes that will lie at `base`."""
    packed, values = b"", b""
    behind = base + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        count = len(value) // SIZES[kind]
        if len(value) > 4:
            place, values = behind + len(values), values + value + bytes(len(value) % 2)
            value = struct.pack(f"{order}L", place)
        packed += struct.pack(f"{order}HHL4s", tag, kind, count, value)
    return struct.pack(f"{order}H", len(tags)) + packed + struct.pack(f"{order}L", link) + values


def camera_block(order="<", sides=(640, 480), thumbnail=b"", behind=b"", orientation=6):
    """What a Canon writes: its note's own directory counts offsets from the block's begin."""
    number, short = (lambda *v, c=c: struct.pack(f"{order}{len(v)}{c}", *v) for c in "LH")
    first, details, versions, note, second = 8, 400, 700, 800, 1100
    told = {
        0x10F: (ASCII, b"Canon\0"),
        0x110: (ASCII, b"Canon EOS of tests\0"),
        0x112: (SHORT, short(orientation)),
        0x11A: (RATIONAL, number(180, 1)),
        0x11B: (RATIONAL, number(180, 1)),
        0x128: (SHORT, short(2)),
        0x132: (ASCII, b"2018:06:25 12:00:00\0"),
        0x8769: (LONG, number(details)),
    }
    owner = {
        0x6: (ASCII, b"IMG:EOS of tests JPEG\0"),
        0x7: (ASCII, b"Firmware Version 1.0.1\0"),
        0x8: (LONG, number(1181861)),
        0x9: (ASCII, b"An owner of this camera\0"),
    }
    written = directory(note, order, owner)
    inner = {
        0x829A: (RATIONAL, number(1, 50)),
        0x8827: (SHORT, short(400)),
        0x8830: (SHORT, short(2)),  # SensitivityType
        0x9000: (ANY, b"0232"),
        0x927C: (ANY, written),
        0xA002: (SHORT, short(sides[0])),
        0xA003: (LONG, number(sides[1])),
        0xA005: (LONG, number(versions)),
        0xEA1D: (SIGNED, number(0)),  # OffsetSchema
    }
    small = {0x103: (SHORT, short(6)), 0x201: (LONG, number(1200))}
    small[0x202] = (LONG, number(len(thumbnail)))
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + number(first)
    block = head + directory(first, order, told, second if thumbnail else 0)
    inside = directory(details, order, inner)
    inside = inside.replace(written, b"")  # it lies by itself, with a known place
    entry = struct.pack(f"{order}HHL", 0x927C, ANY, len(written))
    at = inside.index(entry) + 8
    shifted = struct.unpack_from(f"{order}L", inside, at)[0]
    assert shifted + len(written) <= details + 300
    inside = inside[:at] + number(note) + inside[at + 4 :]
    block = block.ljust(details, b"\0") + inside
    block = block.ljust(versions, b"\0")
    block += directory(versions, order, {1: (ASCII, b"R98\0"), 2: (ANY, b"0100")})
    block = block.ljust(note, b"\0") + written
    if thumbnail:
        block = block.ljust(second, b"\0") + directory(second, order, small)
        block = block.ljust(1200, b"\0") + thumbnail
    return block + behind, written


def save(path, array, block):
    """A file with an EXIF block just as it is."""
    if path.suffix == ".tif":
        data = io.BytesIO()
        Image.fromarray(array).save(data, "TIFF")
        path.write_bytes(tiff.add_exif(data.getvalue(), block))
    elif path.suffix == ".avif":  # into which Pillow writes EXIF anew
        data = pyvips.Image.new_from_array(array).write_to_buffer(".avif")
        path.write_bytes(heif.add_exif(data, block))
    else:
        Image.fromarray(array).save(path, exif=exif.PREFIX + block)
    return path


def restore(tmp_path, source, suffix):
    photograph = photographs.open_photograph(source)
    photographs.write(tmp_path / f"after{suffix}", photograph.pixels, photograph)
    return tmp_path / f"after{suffix}"


def block_of(path):
    """Where a file's block begins, by what each format has before it."""
    data = path.read_bytes()
    signs = {".png": (b"eXIf", 4), ".webp": (b"EXIF", 8), ".tif": (data[:2], 0)}
    sign, further = signs.get(path.suffix, (exif.PREFIX, 6))
    found = data.rindex if path.suffix == ".avif" else data.index
    return data[found(sign) + further :]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("before", [*FORMATS, HEIC])
@pytest.mark.parametrize("after", FORMATS)
def test_a_makers_note_stays_byte_for_byte_where_it_was(tmp_path, picture, before, after, order):
    block, note = camera_block(order)
    source = save(tmp_path / f"before{before}", picture(24, 32), block)
    made = block_of(restore(tmp_path, source, after))
    assert made[800 : 800 + len(note)] == note
    if ".tif" not in (before, after):
        changed = [i for i in range(len(block)) if made[i] != block[i]]
        assert changed and len(changed) <= 2 + 4 + 4  # orientation, width, height


PIXELS = {"Orientation", "ExifImageWidth", "ExifImageHeight"}
OF_EXIF = ("IFD0:", "ExifIFD:", "InteropIFD:", "Canon:", "GPS:")


def with_chunk(data, block):
    """A PNG file with EXIF behind its header, as Pillow reads it."""
    chunk = b"eXIf" + block
    checksum = struct.pack(">L", zlib.crc32(chunk))
    return data[:33] + struct.pack(">L", len(block)) + chunk + checksum + data[33:]


def ask_exiftool(path):
    line = [EXIFTOOL, "-j", "-G1", "-u", "-n", str(path)]
    (tags,) = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
    tags = {name: value for name, value in tags.items() if name.startswith(OF_EXIF)}
    return {name: v for name, v in tags.items() if name.partition(":")[2] not in PIXELS}


@pytest.mark.parametrize("order", "<>")
def test_what_marks_a_block_moves_nothing_that_its_tags_point_to(order):
    block, *_ = camera_block(order)
    marked = exif.mark(block)
    assert exif.is_marked(marked) and not exif.is_marked(block) and not exif.is_marked(b"")
    assert marked[8 : len(block)] == block[8:]
    first, again = (
        directories.read_entries(b, *directories.find_first(b)) for b in (block, marked)
    )
    assert again.pop(0xB)[1:3] == (2, len(b"tf-deblur\0")) and again == first
    assert exif.is_marked(exif.mark(b"")) and exif.mark(b"no block") == b"no block"


@wants_exiftool
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("before", [*FORMATS, HEIC])
@pytest.mark.parametrize("after", FORMATS)
def test_exiftool_reads_the_same_of_both(tmp_path, picture, before, after, order):
    block, _ = camera_block(order)
    source = save(tmp_path / f"before{before}", picture(24, 32), block)
    first = ask_exiftool(save(tmp_path / "plain.jpg", picture(24, 32), block))
    assert first["Canon:OwnerName"] == "An owner of this camera"
    assert first["ExifIFD:SensitivityType"] == 2 and "InteropIFD:InteropIndex" in first
    made = ask_exiftool(restore(tmp_path, source, after))
    assert {name: made.get(name) for name in first} == first


@pytest.mark.parametrize("suffix", FORMATS)
def test_orientation_and_sides_are_those_of_the_result(tmp_path, picture, suffix):
    block, _ = camera_block(orientation=6)
    source = save(tmp_path / "before.jpg", picture(24, 32), block)
    path = restore(tmp_path, source, suffix)
    made = block_of(path)
    entries = directories.read_entries(made, 400, "<")
    assert struct.unpack("<H", entries[0xA002][3][:2]) == (24,)  # it stands upright now
    assert struct.unpack("<L", entries[0xA003][3]) == (32,)
    assert Image.open(path).getexif().get(0x112, 1) == 1 and Image.open(path).size == (24, 32)


def test_a_side_above_65535_becomes_a_long_number():
    made = exif.update(camera_block()[0], 70_000, 3)
    assert directories.read_entries(made, 400, "<")[0xA002][1:] == (
        LONG,
        1,
        struct.pack("<L", 70_000),
    )


@pytest.mark.parametrize("behind", [b"", b"more of the maker's"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_the_thumbnail_that_shows_the_blur_is_dropped(tmp_path, picture, suffix, behind):
    small = io.BytesIO()
    Image.fromarray(picture(16, 16)).save(small, "JPEG")
    block, note = camera_block(thumbnail=small.getvalue(), behind=behind)
    photograph = save(tmp_path / "before.jpg", picture(24, 32), block)
    data = restore(tmp_path, photograph, suffix).read_bytes()
    assert small.getvalue()[:100] not in data and note in data and behind in data


def test_a_thumbnail_said_to_lie_over_other_tags_leaves_them_alone():
    block, note = camera_block(thumbnail=b"\xff\xd8" * 50)
    place = block.index(struct.pack("<HHLL", 0x201, LONG, 1, 1200)) + 8
    block = block[:place] + struct.pack("<L", 790) + block[place + 4 :]
    assert note in exif.update(block, 640, 480)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".tif"])
def test_stripped_has_no_exif(tmp_path, picture, suffix):
    block, note = camera_block()
    source = save(tmp_path / "before.jpg", picture(24, 32), block)
    photograph = photographs.strip_metadata(photographs.open_photograph(source))
    assert note not in photographs.encode(suffix, photograph.pixels, photograph)


def test_a_jpeg_without_exif_gets_none_and_keeps_its_resolution(tmp_path, picture):
    Image.fromarray(picture(24, 32)).save(tmp_path / "before.jpg", dpi=(240, 240))
    made = restore(tmp_path, tmp_path / "before.jpg", ".jpg")
    assert b"Exif" not in made.read_bytes() and Image.open(made).info["dpi"] == (240, 240)


@pytest.mark.parametrize("suffix", FORMATS)
def test_exif_that_no_jpeg_holds_is_told(tmp_path, picture, suffix):
    block = camera_block()[0] + bytes(70_000) + b"end"
    Image.fromarray(picture(24, 32)).save(tmp_path / "plain.png")
    data = with_chunk((tmp_path / "plain.png").read_bytes(), block)
    photograph = photographs.open_photograph(data)
    told = photographs.describe_losses(suffix, photograph)
    assert told == ("without its EXIF, more than a JPEG holds" if suffix == ".jpg" else "")
    (tmp_path / f"a{suffix}").write_bytes(photographs.encode(suffix, photograph.pixels, photograph))
    assert (b"Canon EOS" in (tmp_path / f"a{suffix}").read_bytes()) == (suffix != ".jpg")
    assert photographs.read(tmp_path / f"a{suffix}").shape == (32, 24, 3)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_beside_a_makers_note_in_a_tiff(tmp_path, order, channels):
    import cv2

    array = np.random.default_rng(0).integers(0, 65536, (33, 47, channels), dtype=np.uint16)
    assert cv2.imwrite(str(tmp_path / "a.png"), array)
    block, note = camera_block(order, orientation=1)
    data = with_chunk((tmp_path / "a.png").read_bytes(), block)
    photograph = photographs.open_photograph(data)
    photographs.write(tmp_path / "b.tif", photograph.pixels, photograph)
    again = photographs.open_photograph(tmp_path / "b.tif")
    np.testing.assert_array_equal(again.pixels, photograph.pixels)
    by_opencv = cv2.imread(str(tmp_path / "b.tif"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(by_opencv, cv2.imread(str(tmp_path / "a.png"), -1))
    assert note in (tmp_path / "b.tif").read_bytes()


@pytest.mark.parametrize("damage", [struct.pack(">L", 9999), bytes(4)])
def test_damaged_exif_costs_a_tiff_file_no_pixel(damage, picture, tmp_path):
    deep = picture(24, 32).astype(np.uint16) * 257
    photographs.write(tmp_path / "deep.png", deep)
    data = (tmp_path / "deep.png").read_bytes()
    (tmp_path / "a.png").write_bytes(with_chunk(data, b"MM\0*" + damage))
    source = photographs.open_photograph(tmp_path / "a.png")
    assert photographs.describe_losses(".tif", source) == "without its EXIF, which is damaged"
    photographs.write(tmp_path / "a.tif", source.pixels, source)
    np.testing.assert_array_equal(photographs.read(tmp_path / "a.tif"), deep)
