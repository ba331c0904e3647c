import hashlib
import json
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tf_deblur import errors

SIGNATURES = {
    "float32": ("image", "restored"),
    "uint8": ("image", "restored"),
    "serving_default": ("image_bytes", "restored_bytes"),
}


@pytest.fixture(scope="module")
def loaded(exported):
    import tensorflow as tf

    model = tf.saved_model.load(str(exported / "compact/1"))
    return model.signatures


@pytest.fixture(scope="module")
def keras_restore(small_workdir):
    from tf_deblur.models import networks, weights

    model = weights.load(small_workdir)
    return lambda batch: networks.restore(model, batch).numpy()


def test_the_files_are_those_that_are_promised(exported, small_workdir):
    from tf_deblur.models import weights

    files = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert {"compact.tflite", "compact.json", "compact/1/saved_model.pb"} <= files
    facts = json.loads((exported / "compact/1/assets.extra/model.json").read_text())
    beside = json.loads((exported / "compact.json").read_text())
    sha256 = hashlib.sha256((exported / "compact.tflite").read_bytes()).hexdigest()
    assert beside == facts | {"file_sha256": sha256}
    assert facts["preset"] == "compact" and facts["arguments"]["filters"] == [8, 16, 32]
    assert facts["size_multiple"] == 8 and facts["channels"] == 3
    assert facts["weights_sha256"] == weights.file_hash(small_workdir)
    variables = exported / "compact/1/variables/variables.data-00000-of-00001"
    weight_bytes = (small_workdir / "generator.safetensors").stat().st_size
    assert variables.stat().st_size < 1.5 * weight_bytes  # each weight is there once


def test_the_signatures_have_the_names_that_are_promised(loaded):
    assert set(loaded) == set(SIGNATURES)
    for name, (given, returned) in SIGNATURES.items():
        assert list(loaded[name].structured_input_signature[1]) == [given]
        assert list(loaded[name].structured_outputs) == [returned]


@pytest.mark.parametrize("size", [(64, 96), (45, 77), (1, 1)])
def test_float32_and_uint8_give_kerass_picture(loaded, keras_restore, picture, size):
    import tensorflow as tf

    batch = np.stack([picture(*size, seed) for seed in range(2)])
    expected = keras_restore(np.float32(batch / 255))
    restored = loaded["float32"](image=tf.constant(batch / 255, tf.float32))["restored"]
    assert np.abs(restored - expected).max() < 1e-4
    rounded = loaded["uint8"](image=tf.constant(batch))["restored"]
    assert rounded.dtype == tf.uint8 and rounded.shape == batch.shape
    assert np.abs(rounded - np.rint(expected * 255)).max() <= 1  # 1e-4 may cross a half
    assert np.mean(rounded != np.rint(expected * 255)) < 0.01


def test_serving_default_takes_files_of_different_sizes_and_gives_png(loaded, picture):
    import tensorflow as tf

    png, jpeg = picture(45, 77), picture(32, 24, seed=1)
    files = [cv2.imencode(".png", png[..., ::-1])[1], cv2.imencode(".jpg", jpeg)[1]]
    batch = tf.constant([file.tobytes() for file in files])
    results = loaded["serving_default"](image_bytes=batch)["restored_bytes"].numpy()
    assert all(result.startswith(b"\x89PNG") for result in results)
    first, second = (cv2.imdecode(np.frombuffer(r, np.uint8), cv2.IMREAD_COLOR) for r in results)
    expected = loaded["uint8"](image=png[None])["restored"][0]
    np.testing.assert_array_equal(first[..., ::-1], expected)
    assert second.shape == jpeg.shape


def tensor_names(saved_model, signature):
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    definition = proto.meta_graphs[0].signature_def[signature]
    given, returned = SIGNATURES[signature]
    return definition.inputs[given].name, definition.outputs[returned].name


def c_api(saved_model, signature, *files):
    """The lines that c_api.py prints, one for each file; no Python of TensorFlow's in it."""
    import tensorflow as tf

    library = pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"
    script = pathlib.Path(__file__).parent / "c_api.py"
    line = [script, library, saved_model, *tensor_names(saved_model, signature), *files]
    line = [sys.executable, *map(str, line)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr  # an abort would be -6
    return done.stdout.splitlines()


def test_the_c_api_gives_kerass_picture_and_refuses_a_wrong_rank(
    exported, keras_restore, picture, tmp_path
):
    files = [tmp_path / f"{name}.npy" for name in ("even", "odd", "flat", "grey")]
    even, odd = (np.float32(picture(*size) / 255)[None] for size in [(64, 96), (45, 77)])
    for file, array in zip(files, [even, odd, even[0], even[..., :1]]):
        np.save(file, array)
    lines = c_api(exported / "compact/1", "float32", *files)
    assert lines[:2] == ["ok", "ok"]
    for file, batch in zip(files, [even, odd]):
        assert np.abs(np.load(f"{file}.out.npy") - keras_restore(batch)).max() < 1e-4
    assert all("[?,?,?,3]" in line for line in lines[2:]), lines


def test_python_refuses_a_wrong_rank(loaded, picture):
    import tensorflow as tf

    with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError)):
        loaded["float32"](image=tf.zeros([8, 8, 3]))


def open_tflite(exported):
    """TensorFlow's own interpreter, which warns that it has a successor."""
    import tensorflow as tf

    with errors.quiet():
        return tf.lite.Interpreter(str(exported / "compact.tflite"))


@pytest.mark.parametrize("size", [(64, 96), (45, 77), (5, 3)])
def test_tflite_gives_kerass_picture_at_any_size(exported, keras_restore, picture, size):
    interpreter = open_tflite(exported)
    assert interpreter.get_signature_list() == {
        "float32": {"inputs": ["image"], "outputs": ["restored"]}
    }
    batch = np.float32(picture(*size) / 255)[None]
    restored = interpreter.get_signature_runner("float32")(image=batch)["restored"]
    assert np.abs(restored - keras_restore(batch)).max() < 1e-4


def test_tflite_refuses_a_wrong_rank(exported):
    with pytest.raises((ValueError, RuntimeError)):
        open_tflite(exported).get_signature_runner("float32")(image=np.zeros((8, 8, 3), np.float32))


def test_a_second_export_is_the_next_version(small_workdir, exported, tmp_path, run):
    (tmp_path / "out/compact/7").mkdir(parents=True)
    done = run("export", "--model", small_workdir, "--output=out", "--formats=saved_model")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "out").rglob("*") if path.is_dir()} == {
        *("compact", "7", "8", "variables", "assets", "assets.extra")
    }
    assert str(pathlib.Path("out/compact/8")) in done.stdout


def test_what_cannot_be_exported_is_named_in_one_line(run, small_workdir, tmp_path):
    (tmp_path / "file").touch()
    for arguments, status, message in [
        (["--model=nothing", "--output=out"], 1, "nothing: no such model"),
        (["--model", small_workdir, "--output=file"], 1, "file"),
        (["--model", small_workdir, "--output=out", "--formats=onnx"], 2, "saved_model, tflite"),
        (["--model", small_workdir], 2, "--output"),
    ]:
        done = run("export", *arguments)
        assert done.returncode == status and message in done.stderr, done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
