import http.server
import importlib.util
import os
import shutil
import threading

import cv2
import numpy as np
import pytest
from commands import python

from tf_deblur import datasets
from tf_deblur.datasets.gopro import gopro_dataset_builder as gopro
from tf_deblur.errors import UserError
from tf_deblur.pictures import photographs
from tf_deblur.scoring import metrics


@pytest.fixture
def make(picture, tmp_path):
    """A maker of pairs: make("set/train/a", "001", …) -> {frame: (blurred, sharp)}."""

    def write(folder, *frames, blurred="blur"):
        made = {}
        for frame in frames:
            sharp = picture(24, 32, seed=len(list(tmp_path.rglob("*.png"))))
            made[frame] = cv2.blur(sharp, (5, 1)), sharp
            for kind, image in zip((blurred, "sharp"), made[frame]):
                photographs.write(tmp_path / folder / kind / f"{frame}.png", image)
        return made

    return write


@pytest.fixture
def prepare(tmp_path):
    """`datasets.prepare`, in one folder: prepare("gopro@pictures")."""
    return lambda spec, **told: datasets.prepare(
        spec.replace("@", f"@{tmp_path}/"), tmp_path / "prepared", **told
    )


def read(builder, split):
    """{"sequence/frame": (blurred, sharp)} in the order of the records."""
    return {
        f"{e['sequence'].decode()}/{e['frame'].decode()}": (e["blurred"], e["sharp"])
        for e in builder.as_data_source(split)
    }


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for name, halves in expected.items():
        for half, other in zip(found[name], halves, strict=True):
            np.testing.assert_array_equal(half, other, strict=True)


def list_files(folder):
    """The files below a folder, without TFDS's note of what it was asked for last."""
    return [p for p in folder.rglob("*") if p.is_file() and p.parent.name != ".config"]


def test_halves_are_matched_by_name_and_stay_what_they_were(make, prepare, tmp_path):
    expected = {}
    for sequence in ("b/deeper", "a"):
        made = make(f"pictures/{sequence}", "10", "2", "x-1", "x")
        expected |= {f"{sequence}/{frame}": pair for frame, pair in made.items()}
    photographs.write(
        tmp_path / "pictures/a/depth/2.png", expected["a/2"][0]
    )  # no half of anything
    builder = prepare("image_pairs@pictures")
    assert_equal(read(builder, "train"), dict(sorted(expected.items())))
    assert builder.info.metadata["sequences"] == {"train": [["a", 4], ["b/deeper", 4]]}
    assert builder.info.metadata["smallest_side"] == 24


def test_a_jpeg_half_is_kept_as_it_decodes(make, prepare, tmp_path):
    _, sharp = make("pictures", "1")["1"]
    (tmp_path / "pictures/blur/1.png").unlink()
    photographs.write(tmp_path / "pictures/blur/1.jpg", sharp)
    decoded = photographs.read(tmp_path / "pictures/blur/1.jpg")
    assert_equal(read(prepare("image_pairs@pictures"), "train"), {"./1": (decoded, sharp)})


def test_other_names_and_pairs_that_lie_apart(picture, prepare, tmp_path, capsys):
    scene = picture(140, 150)
    for frame, (down, right) in {"1": (0, 0), "2": (3, -2)}.items():
        blurred = np.uint8(scene[10 - down : 130 - down, 10 - right : 140 - right] * 0.9)
        photographs.write(tmp_path / f"pictures/input/{frame}.png", blurred)
        photographs.write(tmp_path / f"pictures/target/{frame}.png", scene[10:130, 10:140])
    whole = read(prepare("image_pairs@pictures"), "train")
    assert [half.shape for half in whole["./2"]] == [(120, 130, 3)] * 2
    told = capsys.readouterr().err
    assert "at most 3.6 (./2 by 3.6); /align=shift registers them" in told
    assert "blurred ones are brighter by -10%" in told
    registered = read(prepare("image_pairs/align=shift@pictures"), "train")
    assert_equal({"./1": registered["./1"]}, {"./1": whole["./1"]})
    blurred, sharp = registered["./2"]
    np.testing.assert_array_equal(blurred, np.uint8(sharp * 0.9))
    assert sharp.shape == (117, 128, 3)


def test_two_folders_of_blurred_ones_are_refused(make, prepare):
    make("pictures", "1")
    make("pictures", "1", blurred="input")
    with pytest.raises(UserError, match="pictures: blur and input are there; take one away"):
        prepare("image_pairs@pictures")


def test_folders_named_after_splits_are_splits(make, prepare):
    for folder in ("train/a", "validation", "test/b", "elsewhere"):
        make(f"pictures/{folder}", "1")
    splits = prepare("image_pairs@pictures").info.metadata["sequences"]
    assert splits == {"train": [["a", 1]], "validation": [[".", 1]], "test": [["b", 1]]}


def test_gamma_frames_are_ignored_or_chosen(make, prepare):
    linear = make("GOPRO_Large/train/GOPR0372_07_00", "000047")
    gamma = make("GOPRO_Large/train/GOPR0372_07_00", "000047", blurred="blur_gamma")
    name = "GOPR0372_07_00/000047"
    assert_equal(
        read(prepare("gopro@"), "train"), {name: (linear["000047"][0], gamma["000047"][1])}
    )
    assert_equal(read(prepare("gopro/blur_gamma@"), "train"), {name: gamma["000047"]})


def test_a_partial_copy_says_so(make, prepare, capsys):
    make("GOPRO_Large/train/GOPR0372_07_00", "000047", "000048")
    make("GOPRO_Large/test/GOPR0384_11_00", "000001")
    prepare("gopro@")
    told = capsys.readouterr().err
    assert "2 of 2103 official pairs in train, 1 of 1111 official pairs in test" in told


def test_other_files_or_other_fields_are_another_build(picture, prepare, tmp_path):
    for name in "ab":
        photographs.write(tmp_path / f"photographs/{name}.png", picture(64, 64, seed=ord(name)))
    first = prepare("synthetic_blur/variants=1@photographs")
    made = os.stat(first.data_path).st_mtime_ns
    fields = prepare("synthetic_blur/variants=2@photographs")
    photographs.write(tmp_path / "photographs/c.png", picture(64, 64, seed=3))
    files = prepare("synthetic_blur/variants=1@photographs")
    counts = [builder.info.splits["train"].num_examples for builder in (first, fields, files)]
    assert counts == [1, 2, 2]
    (tmp_path / "photographs/c.png").unlink()
    again = prepare("synthetic_blur@photographs", variants=1)
    assert again.data_path == first.data_path and os.stat(again.data_path).st_mtime_ns == made


def test_a_blurred_picture_is_never_taken_for_a_sharp_one(make, prepare):
    make("pictures/GOPRO_Large/test/GOPR0384_11_00", "000001")
    with pytest.raises(UserError, match="000001.png: blurred already"):
        prepare("synthetic_blur@pictures")


def test_the_only_photograph_is_trained_on(picture, prepare, tmp_path):
    photographs.write(tmp_path / "photographs/a.png", picture(64, 64))
    splits = prepare("synthetic_blur/variants=2@photographs").info.metadata["sequences"]
    assert splits == {"train": [["a", 2]]}


def test_beam_makes_the_same_pairs(picture, prepare, tmp_path):
    pytest.importorskip("apache_beam", reason="needs the extra [beam]")
    for name in ("a", "b", "deeper/c"):
        photographs.write(tmp_path / f"photographs/{name}.png", picture(64, 96, seed=ord(name[-1])))
    own, data_dir = prepare("synthetic_blur/variants=3@photographs"), tmp_path / "by beam"
    source = tmp_path / "photographs"
    beam = datasets.prepare("synthetic_blur", data_dir, source, variants=3, beam=1)
    assert beam.builder_config.name == own.builder_config.name
    for split in ("train", "validation"):
        assert_equal(read(beam, split), read(own, split))


@pytest.mark.skipif(bool(importlib.util.find_spec("apache_beam")), reason="Apache Beam is there")
def test_without_beam_the_extra_is_named(prepare):
    with pytest.raises(UserError, match=r"beam=1: wants Apache Beam; pip install .*\[beam\]"):
        prepare("synthetic_blur/beam=1@photographs")


def test_what_is_prepared_needs_no_source_unless_it_is_one_of_two(make, prepare, tmp_path):
    with pytest.raises(UserError, match="image_pairs: none is prepared"):
        prepare("image_pairs")
    make("pictures", "1")
    first = prepare("image_pairs@pictures")
    shutil.rmtree(tmp_path / "pictures")
    assert prepare("image_pairs").data_path == first.data_path
    make("pictures", "2")
    prepare("image_pairs@pictures")
    with pytest.raises(UserError, match="image_pairs: 2 are prepared"):
        prepare("image_pairs")


def test_a_build_that_was_killed_is_never_taken_for_whole(make, prepare, tmp_path):
    expected = make("pictures", "1", "2", "3")
    killed = f"""
import os
from tf_deblur import datasets
from tf_deblur.datasets import pairs
read = pairs.read
pairs.read = lambda path: os._exit(9) if path.name == "3.png" else read(path)
datasets.prepare("image_pairs", {str(tmp_path / "prepared")!r}, {str(tmp_path / "pictures")!r})
"""
    assert python("-c", killed).returncode == 9
    assert list((tmp_path / "prepared").rglob("*incomplete*"))
    with pytest.raises(UserError, match="none is prepared"):
        prepare("image_pairs")
    found = read(prepare("image_pairs@pictures"), "train")
    assert_equal(found, {f"./{frame}": pair for frame, pair in expected.items()})


def save(path, image):
    assert cv2.imwrite(str(path), image)


def cut(path, keep):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


GREY = np.full((24, 32), 90, np.uint8)
DAMAGE = {
    "a missing half": (lambda f: (f / "sharp/2.png").unlink(), "blur/2.png: has no other half"),
    "a missing half of the other": (lambda f: (f / "blur/1.png").unlink(), "sharp/1.png: has no"),
    "unequal sizes": (
        lambda f: save(f / "sharp/2.png", np.dstack([GREY[1:]] * 3)),
        "is 32x24, but",
    ),
    "grey": (lambda f: save(f / "blur/2.png", GREY), "blur/2.png: has 8 bits"),
    "grey JPEG": (
        lambda f: [save(f / "blur/2.jpg", GREY), (f / "blur/2.png").unlink()],
        "blur/2.jpg: has 8 bits and 1 channels",
    ),
    "16 bits": (
        lambda f: save(f / "sharp/2.png", np.dstack([GREY] * 3).astype(np.uint16)),
        "sharp/2.png: has 16 bits",
    ),
    "alpha": (lambda f: save(f / "sharp/2.png", np.dstack([GREY] * 4)), "sharp/2.png: has 8 bits"),
    "a cut file": (lambda f: cut(f / "blur/2.png", 0.6), "blur/2.png: not a whole PNG file"),
    "an empty file": (lambda f: cut(f / "blur/2.png", 0), "blur/2.png: not a whole PNG file"),
    "damage inside": (lambda f: flip_a_byte(f / "sharp/2.png"), "sharp/2.png: not a whole PNG"),
    "two of one name": (lambda f: shutil.copy(f / "blur/2.png", f / "blur/2.jpg"), "2.jpg has its"),
    "no pairs": (lambda f: [shutil.rmtree(f / n) for n in ("blur", "sharp")], "no pictures in it"),
    "no blur folder": (
        lambda f: (f / "blur").rename(f / "blurry"),
        "sharp/1.png: has no other half",
    ),
    "no folder": (shutil.rmtree, "pictures: no such folder"),
}


@pytest.mark.parametrize("damage, message", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_source_is_named_and_leaves_nothing_behind(
    damage, message, make, prepare, tmp_path, capfd
):
    make("pictures", "1", "2")
    damage(tmp_path / "pictures")
    with pytest.raises(UserError) as told:
        prepare("image_pairs@pictures")
    assert capfd.readouterr().err.count("\n") <= 1  # that it is preparing; no library's word
    assert message in str(told.value) and "\n" not in str(told.value)
    assert not list_files(tmp_path / "prepared")


@pytest.mark.parametrize(
    "spec, message",
    [
        ("faces", "faces: no such data set"),
        ("gopro/sharpest", "no configuration sharpest; use one of blur, blur_gamma, all"),
        ("image_pairs/side=4", "no field side; it has align"),
        ("synthetic_blur/size=4", "no field size; it has extent"),
        ("synthetic_blur/variants", "no configuration variants"),
        ("synthetic_blur/mixed/variants", "'variants' is no FIELD=VALUE"),
        ("synthetic_blur/extent=9", "extent=9: must be a range"),
        ("synthetic_blur/extent=16-9", "must be two numbers of pixels above 0"),
        ("synthetic_blur/variants=1.5", "variants=1.5: must be a whole number"),
        ("synthetic_blur/variants=0", "variants=0: must be 1 or more"),
        ("synthetic_blur/moving=1.5", "moving=1.5: must be a share"),
        ("synthetic_blur/moving=nan", "moving=nan: must be a share"),
        ("synthetic_blur/linear=many", "linear=many: must be a number"),
        ("synthetic_blur/beam=2", "beam=2: must be 0 or 1"),
        ("gopro/all/window=8", "window=8: must be 7, 9, 11 or 13, or 0"),
        ("gopro/all/gamma=0", "gamma=0: must be from 1 to 4"),
    ],
)
def test_a_wrong_name_says_which_are_right(spec, message, prepare, tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UserError) as told:
        prepare(f"{spec}@pictures")
    assert message in str(told.value) and "\n" not in str(told.value)
    assert not (tmp_path / "prepared").exists()


def zip_it(tmp_path):
    shutil.make_archive(tmp_path / "zip/GOPRO_Large", "zip", tmp_path, "GOPRO_Large")
    return tmp_path / "zip/GOPRO_Large.zip"


def test_an_archive_is_as_good_as_its_folder_and_another_one_is_another_build(
    make, prepare, tmp_path
):
    make("GOPRO_Large/train/GOPR0372_07_00", "000047")
    zip_it(tmp_path)
    assert_equal(read(prepare("gopro@zip"), "train"), read(prepare("gopro@"), "train"))
    make("GOPRO_Large/train/GOPR0372_07_00", "000048")
    zip_it(tmp_path)  # under the same name
    assert_equal(read(prepare("gopro@zip"), "train"), read(prepare("gopro@"), "train"))


@pytest.mark.parametrize("keep", [0, 0.5])
def test_a_cut_archive_is_named_and_a_whole_one_in_its_place_is_taken(
    keep, make, prepare, tmp_path
):
    make("GOPRO_Large/train/GOPR0372_07_00", "000047")
    cut(zip_it(tmp_path), keep)
    with pytest.raises(UserError, match=r"GOPRO_Large\.zip"):
        prepare("gopro@zip")
    assert not list((tmp_path / "prepared").rglob("*.png"))
    zip_it(tmp_path)
    assert list(read(prepare("gopro@zip"), "train")) == ["GOPR0372_07_00/000047"]


def test_an_archive_of_something_else_is_named(make, prepare, tmp_path):
    make("GOPRO_Large/elsewhere/GOPR0372_07_00", "000047")
    zip_it(tmp_path)
    with pytest.raises(UserError, match=r"GOPRO_Large\.zip: holds no GOPRO_Large/train/ or test/"):
        prepare("gopro@zip")


@pytest.fixture
def published(make, tmp_path, monkeypatch):
    """A tiny GOPRO_Large.zip on a server of its own, in the published one's place."""
    make("GOPRO_Large/test/GOPR0384_11_00", "000001")
    archive = zip_it(tmp_path)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=archive.parent)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        monkeypatch.setattr(gopro, "URL", url)
        yield url
        server.shutdown()


def test_the_published_archive_is_fetched(published, prepare):
    builder = prepare("gopro", manual_dir="download")
    assert list(read(builder, "test")) == ["GOPR0384_11_00/000001"]


def test_a_checksum_that_differs_is_an_error(published, prepare, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    other = tfds.download.checksums.UrlInfo(size=1, checksum="0" * 64, filename="GOPRO_Large.zip")
    monkeypatch.setattr(gopro.Builder, "url_infos", {published: other})
    with pytest.raises(UserError, match="wrong checksum"):
        prepare("gopro", manual_dir="download")
    assert not list_files(tmp_path / "prepared/gopro")


@pytest.fixture
def frames(tmp_path):
    """A maker of 240-fps frames of one value each: frames("GOPR0372_07_00", {1: 10, 2: 20})."""

    def write(sequence, values):
        folder = tmp_path / "GOPRO_Large_all/train" / sequence
        for number, value in values.items():
            photographs.write(folder / f"{number:06d}.png", np.full((24, 32, 3), value, np.uint8))

    return write


def flat(found):
    """{name: (blurred, sharp)} of pictures that have one value each."""
    assert all(np.ptp(half) == 0 for pair in found.values() for half in pair)
    return {name: tuple(int(half[0, 0, 0]) for half in pair) for name, pair in found.items()}


def test_frames_are_averaged_in_runs_as_long_as_the_sequence_says(frames, prepare):
    # frame 47 of the published GOPR0372_07_00 is made of the frames 323 to 329
    frames("GOPR0372_07_00", {n: n - 300 for n in range(320, 345)})
    frames("GOPR0384_11_00", {n: 10 * (n == 6) for n in range(1, 23)})
    assert flat(read(prepare("gopro/all@"), "train")) == {
        "GOPR0372_07_00/000047": (26, 26),
        "GOPR0372_07_00/000048": (33, 33),
        "GOPR0372_07_00/000049": (40, 40),
        "GOPR0384_11_00/000001": (1, 10),  # 10/11 rounded
        "GOPR0384_11_00/000002": (0, 0),
    }
    windows = flat(read(prepare("gopro/all/window=13@"), "train"))
    assert windows == {"GOPR0372_07_00/000026": (32, 32), "GOPR0384_11_00/000001": (1, 0)}


def test_a_gamma_averages_light(frames, prepare):
    frames("GOPR0372_07_00", {n: 255 if n < 4 else 0 for n in range(1, 8)})
    expected = {1: 109, 2.2: 173, 1.5: 145}  # 255 * (3/7) ** (1/gamma)
    for gamma, value in expected.items():
        found = flat(read(prepare(f"gopro/all/gamma={gamma}@"), "train"))
        assert found == {"GOPR0372_07_00/000001": (value, 0)}


@pytest.mark.parametrize(
    "sequence, numbers, message",
    [
        ("GOPR0372_07_00", [1, 2, 3, 5, 6, 7], "GOPR0372_07_00: lacks frame 4"),
        ("GOPR0372_07_00", range(1, 7), "no whole run of frames"),
        ("street", range(1, 8), "street: its name tells no window"),
    ],
)
def test_frames_that_make_no_run_are_an_error(sequence, numbers, message, frames, prepare):
    frames(sequence, dict.fromkeys(numbers, 9))
    with pytest.raises(UserError, match=message):
        prepare("gopro/all@")


@pytest.fixture
def lai(picture, tmp_path):
    """Two of Lai's scenes, the ground truth of one: {name: (blurred, sharp or None)}."""
    made = {}
    for name, known in {"manmade_01": True, "text_05": False}.items():
        sharp = picture(24, 32 + known, seed=known)
        if known:
            photographs.write(tmp_path / f"lai/ground_truth/{name}.png", sharp)
        for kernel in ("kernel_01", "kernel_04"):
            blurred = cv2.blur(sharp, (1, int(kernel[-1]) + 2))
            photographs.write(tmp_path / f"lai/uniform/{name}_{kernel}.png", blurred)
            made[f"{name}/{kernel}"] = blurred, sharp if known else np.zeros((1, 1, 3), np.uint8)
    return made


def test_pictures_without_their_ground_truth_are_a_split_of_their_own(lai, prepare, capsys):
    builder = prepare("lai@")
    assert_equal(read(builder, "test"), {n: p for n, p in lai.items() if "manmade" in n})
    assert_equal(read(builder, "blurred"), {n: p for n, p in lai.items() if "text" in n})
    told = capsys.readouterr().err
    assert "2 of 100 official pairs in test, 2 pictures alone in blurred" in told
    assert "no sharp half of text_05" in told
    metadata = builder.info.metadata
    assert (metadata["registered"], metadata["missing"]) == (False, ["text_05"])
    assert metadata["kernel_sides"]["kernel_04"] == 75 and metadata["smallest_side"] == 24


def test_photographs_that_nobody_has_sharp_are_all_alone(picture, prepare, tmp_path, capsys):
    for name in ("boat1.png", "coke.jpg"):
        photographs.write(tmp_path / "lai/real" / name, picture(24, 32))
    assert list(read(prepare("lai/real@lai"), "blurred")) == ["real/boat1", "real/coke"]
    assert "2 of 100 official pictures alone in blurred" in capsys.readouterr().err


def test_what_lai_never_made_is_named(lai, picture, prepare, tmp_path):
    photographs.write(tmp_path / "lai/uniform/manmade_01_blurred.png", picture(24, 33))
    with pytest.raises(UserError, match=r"manmade_01_blurred\.png: is not named"):
        prepare("lai@")
    (tmp_path / "lai/uniform/manmade_01_blurred.png").unlink()
    photographs.write(tmp_path / "lai/ground_truth/manmade_01.png", picture(24, 32))
    with pytest.raises(UserError, match="is 33x24, but .*manmade_01.png is 32x24"):
        prepare("lai@")
    with pytest.raises(UserError, match="no pictures in it"):
        prepare("lai/nonuniform@")


def test_a_kohler_picture_has_all_frames_of_its_way(picture, prepare, tmp_path, capsys):
    for trajectory, count in {1: 3, 12: 2}.items():
        wide = picture(24, 40, seed=trajectory)
        photographs.write(tmp_path / f"kohler/BlurryImages/Blurry3_{trajectory}.png", wide[:, :32])
        for n in range(count):
            name = f"GroundTruth3_{trajectory}_{n + 9}.png"
            photographs.write(tmp_path / "kohler/GroundTruth" / name, wide[:, n : n + 32])
    photographs.write(tmp_path / "kohler/BlurryImages/Blurry1_5.png", wide[:, :32])
    builder = prepare("kohler@")
    assert list(read(builder, "blurred")) == ["1/05", "3/01", "3/12"]
    sharp = read(builder, "sharp")
    assert list(sharp) == ["3/01/009", "3/01/010", "3/01/011", "3/12/009", "3/12/010"]
    np.testing.assert_array_equal(sharp["3/12/010"][1], wide[:, 1:33])
    assert sharp["3/12/010"][0].shape == (1, 1, 3)
    assert builder.info.metadata["sequences"]["sharp"] == [["3/01", 3], ["3/12", 2]]
    assert "3 of 48 official pictures alone in blurred" in capsys.readouterr().err


def test_a_kohler_frame_wants_its_blurred_picture(picture, prepare, tmp_path):
    photographs.write(tmp_path / "kohler/Blurry1_1.png", picture(24, 32))
    photographs.write(tmp_path / "kohler/GroundTruth1_2_1.png", picture(24, 32))
    with pytest.raises(UserError, match=r"GroundTruth1_2_1\.png: has no blurred picture"):
        prepare("kohler@")


# Counted and measured in the folders themselves, by another program.
REAL = {
    "gopro@GOPRO_Large": {"train": (13, 28.00), "test": (4, 27.07)},
    "image_pairs@pairs/REDS_x4": {"train": (4, 30.98)},
    "image_pairs@pairs/GoPro_unnumbered": {"train": (4, 22.46)},
    "lai/uniform@lai": {"test": (2, 13.30), "blurred": (6, None)},
    "lai/nonuniform@lai": {"test": (1, 14.34)},
    "lai/real@lai": {"blurred": (5, None)},
    "kohler@kohler": {"blurred": (5, None)},
}


@pytest.mark.parametrize("spec, splits", REAL.items(), ids=REAL)
def test_real_pictures_have_their_known_counts_and_decibels(spec, splits, shared, tmp_path):
    builder = datasets.prepare(spec.replace("@", f"@{shared}/data/"), tmp_path)
    assert set(builder.info.splits) == set(splits)
    for split, (count, psnr) in splits.items():
        pairs = read(builder, split).values()
        assert len(pairs) == count
        if psnr:
            mean = np.mean([metrics.psnr(*pair, data_range=255) for pair in pairs])
            assert mean == pytest.approx(psnr, abs=0.006)
