"""The `.tflite` files of an export, and how they restore where there is no TensorFlow."""

import contextlib
import hashlib
import io
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from commands import python

import tf_deblur
from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import arrays, photographs
from tf_deblur.restoring import restorer, tflite_backend
from tf_deblur.scoring.metrics import psnr

DOCS = pathlib.Path(__file__).parents[1] / "docs/on_device.md"
VARIANTS = ("float32", "float16", "dynamic_int8", "int8")
WIDTH, HEIGHT = 320, 256
BLOCKED = """
import sys
for name in ("tensorflow", "keras", "tensorflow_datasets", "safetensors", "av", "urllib3"):
    sys.modules[name] = None  # importing it fails, as where it is not installed
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory, picture):
    """Pairs, whose blurred halves calibrate too: a folder with blur/ and sharp/."""
    folder = tmp_path_factory.mktemp("real")
    for number in range(2):
        sharp = picture(260, 330, number)
        photographs.write(folder / f"sharp/{number}.png", sharp)
        photographs.write(folder / f"blur/{number}.png", np.roll(sharp // 2, 3, axis=1))
    return folder


@pytest.fixture(scope="module")
def files(small_workdir, real, once):
    """{file's name without suffix: path} of what the export writes, and what it says."""

    def make(output):
        arguments = [
            *(f"--model={small_workdir}", f"--output={output}", "--formats=tflite"),
            *(f"--sizes=any,{WIDTH}x{HEIGHT}", f"--calibration={real / 'blur'}"),
            *(f"--pairs=image_pairs@{real}", f"--data_dir={output / 'data'}"),
        ]
        done = python("-m", "tf_deblur.export", *arguments, cwd=output, timeout=500)
        assert done.returncode == 0, done.stderr
        (output / "said.txt").write_text(done.stdout)

    output = once("files", make)
    found = {path.stem: path for path in (output / "compact-tflite").glob("*.tflite")}
    assert {path.stem for path in (output / "compact-tflite").glob("*.json")} == found.keys()
    return found | {"said": (output / "said.txt").read_text()}


def facts_of(path):
    return json.loads(path.with_suffix(".json").read_text())


NAMES = [f"compact-{variant}{size}" for variant in VARIANTS for size in ("", f"-{WIDTH}x{HEIGHT}")]


@pytest.fixture(scope="module")
def alone(files, real, once):
    """Where no TensorFlow is: {name: the first blurred picture as each file restores it}."""
    pytest.importorskip("ai_edge_litert")
    script = f"""{BLOCKED}
import numpy, pathlib, tf_deblur
from tf_deblur.pictures import photographs
picture = numpy.float32(photographs.read({str(real / "blur/0.png")!r}) / 255)
for file in sys.argv[1:]:
    restore = tf_deblur.load(file, threads=1)
    assert "1 thread of ai-edge-litert" in str(restore)
    numpy.save(pathlib.Path(file).stem, restore(picture))
"""

    def make(folder):
        line = [sys.executable, "-c", script, *(str(files[name]) for name in NAMES)]
        done = subprocess.run(line, capture_output=True, text=True, cwd=folder, timeout=300)
        assert (done.returncode, done.stderr) == (0, "")

    return {path.stem: np.load(path) for path in once("alone", make).glob("*.npy")}


def test_the_files_are_those_that_are_promised(files):
    assert files.keys() == {*NAMES, "said"}
    for name in NAMES:
        told, data = facts_of(files[name]), files[name].read_bytes()
        assert told["name"] == name and told["variant"] in name
        assert (told["sha256"], told["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
        assert told["fixed_size"] == (
            [HEIGHT, WIDTH] if name.endswith(f"{WIDTH}x{HEIGHT}") else None
        )
        assert told["margin"] % told["size_multiple"] == 0
        assert 0 <= told["margin"] - told["radius"] < told["size_multiple"]
        assert told["calibration"] == ("blur" if told["variant"] == "int8" else None)
        assert told["measured"]["pictures"] == "2 of image_pairs, train"
        assert told["psnr"].keys() == {"pairs", "blurred", "keras", "restored"}
    sizes = [files[f"compact-{variant}"].stat().st_size for variant in VARIANTS]
    parameters = facts_of(files["compact-float32"])["parameters"]
    assert np.all(np.array(sizes) >= parameters * np.array([4, 2, 1, 1]))  # the weights are there


def test_the_ten_lines_of_the_docs_restore_as_the_command_does(files, picture, tmp_path):
    pytest.importorskip("ai_edge_litert")
    photographs.write(tmp_path / "photo.jpg", picture(45, 61))  # no multiples of anything
    shutil.copytree(files["compact-float32"].parent, tmp_path / "exported/compact-tflite")
    lines = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[1]
    line = [sys.executable, "-c", f"{BLOCKED}{lines}"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    restore = tf_deblur.load(files["compact-dynamic_int8"])
    expected = restore(photographs.read(tmp_path / "photo.jpg"))
    # OpenCV's JPEG decoder and libvips's round otherwise
    assert psnr(photographs.read(tmp_path / "restored.png"), expected, data_range=255) > 45


@pytest.mark.parametrize("name", NAMES)
def test_what_the_json_says_is_what_the_interpreter_finds(files, name):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    told = facts_of(files[name])
    interpreter = litert.Interpreter(str(files[name]))
    assert interpreter.get_signature_list() == {
        told["signature"]: {"inputs": ["image"], "outputs": ["restored"]}
    }
    runner = interpreter.get_signature_runner(told["signature"])
    ends = zip(
        told["inputs"] + told["outputs"],
        [runner.get_input_details()["image"], runner.get_output_details()["restored"]],
    )
    for end, found in ends:
        height, width = told["fixed_size"] or (-1, -1)
        assert end["shape"] == found["shape_signature"].tolist() == [1, height, width, 3]
        assert end["dtype"] == np.dtype(found["dtype"]).name == told["signature"]
        scale, zero_point = found["quantization"]
        if told["variant"] == "int8":
            assert end["range"] == [0, 255]
            assert end["quantisation"] == {"scale": scale, "zero_point": zero_point}
        else:
            assert end["range"] == [0, 1] and end["quantisation"] is None and scale == 0


@pytest.mark.parametrize("name", NAMES)
def test_tensorflows_analyzer_finds_the_ops_that_are_told_and_no_others(files, name):
    import tensorflow as tf

    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        tf.lite.experimental.Analyzer.analyze(model_path=str(files[name]))
    found = re.findall(r"^  Op#\d+ (\w+)\(", told.getvalue(), re.MULTILINE)
    ops = facts_of(files[name])["ops"]
    assert {op: found.count(op) for op in set(found)} == ops
    assert ops["SPACE_TO_DEPTH"] == ops["DEPTH_TO_SPACE"] == 3 and ops["CONV_2D"] > 10
    refused = {"SHAPE", "PACK", "PAD", "STRIDED_SLICE", "GATHER", "RELU_0_TO_1", "CUSTOM"}
    assert not ops.keys() & refused


@pytest.mark.parametrize("name", NAMES)
def test_without_tensorflow_a_file_is_as_near_to_keras_as_its_json_says(
    alone, files, real, small_workdir, name
):
    blurred = np.float32(photographs.read(real / "blur/0.png") / 255)
    keras = tf_deblur.load(small_workdir, precision="float32")(blurred)
    assert np.abs(keras - blurred).mean() > 0.05  # these weights do something
    apart = np.abs(alone[name] - keras)
    stated = facts_of(files[name])["measured"]
    # of a file of one size it was measured on the picture mirrored up to 320x264, as here
    assert apart.max() <= stated["largest_difference"] + 2e-3
    assert apart.max() < {"float32": 1e-5, "float16": 0.01}.get(facts_of(files[name])["variant"], 1)
    decibels = -10 * np.log10(np.square(apart, dtype=float).mean())
    assert decibels > {"float32": 100, "float16": 50}.get(facts_of(files[name])["variant"], 25)


def test_a_command_restores_where_there_is_no_tensorflow(files, picture, tmp_path):
    pytest.importorskip("ai_edge_litert")
    photographs.write(tmp_path / "photo.jpg", picture(45, 77))
    photographs.write(tmp_path / "large.png", picture(WIDTH, WIDTH))
    script = f"{BLOCKED}\nfrom tf_deblur import deblur\ndeblur.cli()"

    def deblur(*arguments):
        line = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=300)

    done = deblur("--model", files["compact-int8"], "--threads=1", "--nocheck", "photo.jpg")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 thread of ai-edge-litert" in done.stdout
    assert photographs.read(tmp_path / "photo_restored.jpg").shape == (45, 77, 3)

    fixed = files[f"compact-float32-{WIDTH}x{HEIGHT}"]
    done = deblur("--model", fixed, "photo.jpg", "large.png")
    assert done.returncode == 1 and (tmp_path / "large_restored.png").exists()
    assert done.stderr.startswith("error: photo.jpg: ") and done.stderr.count("\n") == 1
    assert f"takes pictures of at least {WIDTH}x{HEIGHT}" in done.stderr

    for arguments, message in [
        (["--model=compact"], ".tflite files do without it"),
        ([f"--model={fixed}", "--memory_gb=0.001"], "see --memory_gb"),
    ]:
        done = deblur(*arguments, "large.png")
        assert done.returncode == 1 and message in done.stderr, done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_only_tflite_files_take_a_number_of_threads(files, small_workdir):
    with pytest.raises(UserError, match="threads is for .tflite files"):
        tf_deblur.load(small_workdir, threads=2)
    assert "3 threads" in str(tf_deblur.load(files["compact-float32"], threads=3))


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (300, 400), (517, 331)])
def test_tiles_of_one_size_give_kerass_picture_of_the_whole(files, small_workdir, picture, size):
    blurred = np.float32(picture(*size) / 255)
    restore = tf_deblur.load(files[f"compact-float32-{WIDTH}x{HEIGHT}"])
    keras = tf_deblur.load(small_workdir, precision="float32")(blurred)
    assert (len(restore.plan_tiles(*size)) > 1) == (size != (HEIGHT, WIDTH))
    assert np.abs(restore(blurred) - keras).max() < 1e-4


def test_the_time_told_counts_what_tiles_overlap(files, monkeypatch):
    restore = tf_deblur.load(files[f"compact-float32-{WIDTH}x{HEIGHT}"])
    monkeypatch.setattr(
        restorer.TiledRestorer, "_time_tile", lambda _, *size: float(math.prod(size))
    )
    tiles = restore.plan_tiles(40 * HEIGHT, 40 * WIDTH)
    computed = len(tiles) * tiles.largest
    expected = computed / (40 * HEIGHT * 40 * WIDTH)
    assert restore.measure_seconds_a_pixel() == pytest.approx(expected, rel=0.1)


def test_a_byte_of_the_picture_is_a_byte_of_the_int8_file(files):
    told = facts_of(files["compact-int8"])["inputs"][0]
    levels = np.arange(256, dtype=np.uint8)
    given = tflite_backend._quantise(arrays.to_float(levels), told["quantisation"])
    np.testing.assert_array_equal(given, levels)


def test_bytes_that_go_in_as_they_are_give_what_numbers_give(files, picture):
    restore, blurred = tf_deblur.load(files["compact-int8"]), picture(64, 72)
    numbers = restore(np.float32(blurred / 255))
    np.testing.assert_array_equal(restore(blurred), arrays.to_uint8(numbers))


def test_what_running_takes_is_measured_and_never_guessed(files, tmp_path):
    for variant in VARIANTS:
        names = (f"compact-{variant}", f"compact-{variant}-{WIDTH}x{HEIGHT}")
        of_any, of_one = (facts_of(files[name])["pixel_bytes"] for name in names)
        # three numbers in and three out, around the network's own
        assert 6 * 4 < of_any < 500 and of_any / 2 < of_one < 2000
    alone = tmp_path / "alone.tflite"
    shutil.copy(files["compact-float32"], alone)
    with pytest.raises(UserError, match=r"alone.json: missing or damaged"):
        tf_deblur.load(alone)
    told = facts_of(files["compact-float32"])
    del told["pixel_bytes"]
    alone.with_suffix(".json").write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"alone.json: missing or damaged"):
        tf_deblur.load(alone)


def network(tmp_path, name="image", shape=(1, None, None, 3)):
    """A `.tflite` file of another's making, its JSON made to fit."""
    import tensorflow as tf

    from tf_deblur import errors

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name=name)])
    def float32(picture):
        return {"restored": picture + 1}

    with errors.quiet():
        concrete = float32.get_concrete_function()
        tf.saved_model.save(tf.Module(), str(tmp_path / "saved"), {"float32": concrete})
        return tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert()


def test_a_file_that_is_not_ours_is_one_line(files, tmp_path):
    told = facts_of(files["compact-float32"])
    for name, data in {
        "text": b"not a network",
        "cut": files["compact-float32"].read_bytes()[:10_000],
        "rank": network(tmp_path / "rank", shape=(None, None, 3)),
        "names": network(tmp_path / "names", name="x"),
    }.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        path.with_suffix(".json").write_text(json.dumps(told | {"sha256": sha256}))
        with pytest.raises(UserError, match="damaged, or not made by `tf-deblur export`") as raised:
            tf_deblur.load(path)
        assert "\n" not in str(raised.value) and str(path) in str(raised.value)
        path.with_suffix(".json").write_text(json.dumps(told))
        with pytest.raises(UserError, match="another file than its .json tells of"):
            tf_deblur.load(path)


def test_a_smaller_picture_is_refused_by_a_file_of_one_size(files, picture):
    restore = tf_deblur.load(files[f"compact-int8-{WIDTH}x{HEIGHT}"])
    with pytest.raises(BadPicture, match=f"takes pictures of at least {WIDTH}x{HEIGHT}"):
        restore(picture(HEIGHT - 8, WIDTH))


def test_a_file_that_loses_more_than_a_tenth_of_a_decibel_is_marked(
    files, small_workdir, picture, monkeypatch
):
    from tf_deblur.export import measuring, real_pictures
    from tf_deblur.models import weights

    model = weights.load(small_workdir)
    blurred = picture(64, 64)
    keras = tf_deblur.load(small_workdir, precision="float32")(np.float32(blurred / 255))
    sharp = arrays.to_uint8(np.clip(keras + 8 / 255, 0, 1))
    pair = measuring.Judge(model, real_pictures.Pictures("one", [blurred], [sharp]), None)
    unpaired = measuring.Judge(model, real_pictures.Pictures("one", [blurred]), None)

    def judge_worse(judge, restored):
        monkeypatch.setattr(measuring, "run_apart", lambda *_: ({"measured": {}}, [restored]))
        return judge(files["compact-int8"])["worse_than_float32"]

    assert judge_worse(pair, keras) is False
    assert judge_worse(pair, keras - np.float32(2 / 255)) is True  # 20 log10(10 / 8) is 1.9 dB
    assert judge_worse(unpaired, keras - np.float32(2 / 255)) is None
    with pytest.raises(UserError, match="numbers that are none"):
        judge_worse(unpaired, keras * np.nan)


def test_what_must_not_leave_is_found():
    from tf_deblur.export import tflite

    good = {"name": "it", "bytes": 400, "ops": {"CONV_2D": 2, "MINIMUM": 1}}
    tflite.check(good, 400)
    with pytest.raises(UserError, match="converter has lost them"):
        tflite.check(good, 401)
    for op in ("RELU_0_TO_1", "SHAPE", "PAD", "CUSTOM"):
        with pytest.raises(UserError, match=op):
            tflite.check(good | {"ops": {op: 1}}, 400)


def test_what_cannot_be_exported_is_one_line(run, small_workdir, picture, tmp_path):
    photographs.write(tmp_path / "small/one.png", picture(200, 300))
    for arguments, status, message in [
        (["--calibration=small"], 1, "a photograph of 300x200 .* at least 256x256"),
        (["--variants=float64"], 2, "float32, float16, dynamic_int8, int8"),
        (["--sizes=0x8"], 2, "WIDTHxHEIGHT"),
    ]:
        flags = ["--model", small_workdir, "--output=out", "--formats=tflite"]
        done = run("export", *flags, *arguments)
        assert done.returncode == status and re.search(message, done.stderr), done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_what_calibrates_nothing_is_refused(tmp_path):
    from tf_deblur.export import real_pictures, tflite

    with pytest.raises(UserError, match="int8: wants photographs"):
        tflite.write(None, {"size_multiple": 8}, tmp_path, ["int8"], [None])
    with pytest.raises(UserError, match="100x104: sides must be multiples of 8"):
        tflite.write(None, {"size_multiple": 8}, tmp_path, ["float32"], [(104, 100)])
    for folder, message in [(tmp_path, "no photographs in it"), ("no/such", "no such folder")]:
        with pytest.raises(UserError, match=message):
            real_pictures.read_blurred(str(folder), None, 4)
