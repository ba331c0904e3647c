import json
import pathlib
import shutil
import struct
import subprocess

import cv2
import numpy as np
import pytest

SIGNATURES = {  # name, type and shape of what goes in, and of what comes out
    "float32": [
        ("image", "DT_FLOAT", [-1, -1, -1, 3]),
        ("restored", "DT_FLOAT", [-1, -1, -1, 3]),
    ],
    "uint8": [
        ("image", "DT_UINT8", [-1, -1, -1, 3]),
        ("restored", "DT_UINT8", [-1, -1, -1, 3]),
    ],
    "serving_default": [
        ("image_bytes", "DT_STRING", [-1]),
        ("restored_bytes", "DT_STRING", [-1]),
    ],
}
WARMUP = "compact/1/assets.extra/tf_serving_warmup_requests"


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
    assert {"compact-tflite/compact-float32.tflite", "compact/1/saved_model.pb"} <= files
    facts = json.loads((exported / "compact/1/assets.extra/model.json").read_text())
    beside = json.loads((exported / "compact-tflite/compact-float32.json").read_text())
    assert facts.pop("max_megapixels") == 64
    assert facts.pop("tile_pixels") == int(1e9 / facts["pixel_bytes"])
    facts["pixel_bytes"] = beside["pixel_bytes"]  # another engine's
    assert {key: beside[key] for key in facts} == facts
    assert facts["licence"] == "Apache-2.0" and facts["versions"].keys() == {"tensorflow", "keras"}
    assert facts["training_flags"] is None  # of weights that no training of ours made
    assert facts["preset"] == "compact" and facts["arguments"]["filters"] == [8, 16, 32]
    assert facts["size_multiple"] == 8 and facts["channels"] == 3
    assert facts["weights_sha256"] == weights.hash_file(small_workdir)
    variables = exported / "compact/1/variables/variables.data-00000-of-00001"
    weight_bytes = (small_workdir / "generator.safetensors").stat().st_size
    assert variables.stat().st_size < 1.5 * weight_bytes  # each weight is there once


def test_training_flags_tell_nothing_of_the_trainers_folders(tmp_path):
    from tf_deblur.export import read_training_flags

    (tmp_path / "flags.flags").write_text(
        "--workdir=/home/ann/runs/first\n--data_dir=~/data\n--manual_dir=/home/ann/GOPRO\n"
        "--dataset=gopro:0.3,synthetic_blur:0.7\n--init_from=/home/ann/start.safetensors\n"
        "--learning_rate=0.0001\n--nocache\n"
    )
    assert read_training_flags(tmp_path) == [
        *("--dataset=gopro:0.3,synthetic_blur:0.7", "--init_from=start.safetensors"),
        *("--learning_rate=0.0001", "--nocache"),
    ]


def definitions(saved_model):
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((saved_model / "saved_model.pb").read_bytes())
    return proto.meta_graphs[0].signature_def


def test_the_signatures_are_those_that_are_promised(exported):
    from tensorflow.core.framework import types_pb2

    def tell(tensors):
        [(name, tensor)] = tensors.items()
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        return name, types_pb2.DataType.Name(tensor.dtype), shape

    found = definitions(exported / "compact/1")
    assert {
        name: [tell(found[name].inputs), tell(found[name].outputs)] for name in SIGNATURES
    } == SIGNATURES
    assert found.keys() - SIGNATURES.keys() <= {"__saved_model_init_op"}


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


def test_a_second_picture_of_a_batch_is_restored_as_the_first(loaded, picture):
    batch = np.stack([picture(45, 77, seed) for seed in range(3)])
    restored = loaded["uint8"](image=batch)["restored"].numpy()
    for one, of_batch in zip(batch, restored):
        alone = loaded["uint8"](image=one[None])["restored"][0]
        np.testing.assert_array_equal(alone, of_batch)


def test_an_empty_batch_gives_an_empty_batch(loaded, picture):
    import tensorflow as tf

    none = np.zeros((0, 8, 8, 3), np.uint8)
    assert loaded["uint8"](image=none)["restored"].shape == none.shape
    empty = tf.constant([], tf.string)
    assert loaded["serving_default"](image_bytes=empty)["restored_bytes"].shape == [0]


def test_numbers_that_are_none_or_out_of_range_give_finite_ones(loaded, picture):
    image = np.float32(picture(48, 64) / 255)[None]
    expected = loaded["float32"](image=image)["restored"].numpy()
    for odd, taken_as in [(np.nan, 0), (np.inf, 1), (-np.inf, 0), (3e38, 1), (-7, 0)]:
        wrong, right = image.copy(), image.copy()
        wrong[0, 20:30, 20:30], right[0, 20:30, 20:30] = odd, taken_as
        restored = loaded["float32"](image=wrong)["restored"].numpy()
        np.testing.assert_array_equal(restored, loaded["float32"](image=right)["restored"])
        assert np.isfinite(restored).all() and (restored != expected).any()


def test_the_graphs_tiles_give_the_whole_pictures_result(small_workdir, keras_restore, picture):
    from tf_deblur.export import saved_model
    from tf_deblur.models import networks, weights
    from tf_deblur.restoring import tiling

    model = weights.load(small_workdir)
    radius, multiple = networks.compute_radius(model), networks.compute_size_multiple(model)
    most_pixels = (2 * radius + 80) ** 2
    tiles = tiling.plan(208, 304, radius=radius, multiple=multiple, most_pixels=most_pixels)
    assert len(tiles) > 3
    float32, uint8, _ = saved_model.make_signatures(model, most_pixels)
    blurred = np.stack([picture(203, 301, seed) for seed in range(2)])  # no multiples of 8
    whole = keras_restore(np.float32(blurred / 255))
    assert np.abs(float32(np.float32(blurred / 255))["restored"] - whole).max() < 1e-6
    assert np.abs(uint8(blurred)["restored"].numpy() - np.rint(whole * 255)).max() <= 1
    with pytest.raises(ValueError, match="too few for a tile"):
        saved_model.make_signatures(model, radius**2)[0].get_concrete_function()


@pytest.mark.parametrize("multiple, radius", [(1, 80), (8, 187)])
def test_the_graph_cuts_where_the_restorer_cuts(multiple, radius):
    import tensorflow as tf

    from tf_deblur.restoring import tiling

    limits = {"multiple": multiple, "most_pixels": 600_000}
    for sides in [(8, 16), (720, 1280), (4000, 6000), (200, 40_000)]:
        tiles = tiling.plan(*sides, radius=radius, **limits)
        columns = tf.range(1, sides[1] // multiple + 1, dtype=tf.int64)
        height_width = (tf.constant(side, tf.int64) for side in sides)
        core = tiling.choose_core(*height_width, columns, margin=tiles.margin, **limits, xp=tf)
        assert tuple(map(int, core)) == tiles.core


def png_that_claims(height, width, file):
    return file[:16] + struct.pack(">II", width, height) + file[24:]


def jpeg_that_claims(height, width, file):
    at = file.index(b"\xff\xc0") + 5  # start of frame: marker, length, precision
    return file[:at] + struct.pack(">HH", height, width) + file[at + 4 :]


def test_a_file_is_refused_by_its_header(loaded, picture):
    import tensorflow as tf

    png, jpeg = (cv2.imencode(end, picture(16, 24))[1].tobytes() for end in (".png", ".jpg"))
    gif = b"GIF89a" + bytes(30)
    for file, message in [
        (png_that_claims(60_000, 50_000, png), "50000x60000 pixels.*at most 64 megapixels"),
        (jpeg_that_claims(60_000, 50_000, jpeg), "50000x60000 pixels.*at most 64 megapixels"),
        (png_that_claims(2**32 - 1, 2**32 - 1, png), "PNG"),
        (png_that_claims(0, 0, png), "PNG"),
        (png[:20], "PNG"),
        (png[:-40], "PNG"),
        (jpeg[:200], "JPEG"),
        (gif, "neither a JPEG nor a PNG file"),
        (b"", "neither a JPEG nor a PNG file"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            loaded["serving_default"](image_bytes=tf.constant([file]))


def test_the_limit_counts_every_pixel(small_workdir, picture):
    import tensorflow as tf

    from tf_deblur.export import pictures_in_graph

    file = cv2.imencode(".png", picture(20, 50))[1].tobytes()
    assert pictures_in_graph.read_file(tf.constant(file), 1000e-6).shape == (20, 50, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="50x20 pixels"):
        pictures_in_graph.read_file(tf.constant(file), 999e-6)


@pytest.mark.parametrize("flag", [cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED])
def test_files_are_decoded_as_others_decode_them(picture, tmp_path, flag):
    import tensorflow as tf

    from tf_deblur.export import pictures_in_graph

    kinds = {
        cv2.IMREAD_COLOR: picture(45, 77),
        cv2.IMREAD_GRAYSCALE: picture(45, 77)[..., 0],
        cv2.IMREAD_UNCHANGED: np.dstack([picture(45, 77), picture(45, 77, 1)[..., 0]]),
    }
    for end in (".png", ".jpg"):
        file = cv2.imencode(end, kinds[flag])[1]
        expected = cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1]
        decoded = pictures_in_graph.read_file(tf.constant(file.tobytes()), 1).numpy()
        assert np.abs(decoded - np.float32(expected)).max() <= (1 if end == ".jpg" else 0)


def replay(loaded, record):
    """What a served model answers to a record of the warm-up file, read by the server's protos."""
    import tensorflow as tf

    prediction_log_pb2 = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api"
    )
    log = prediction_log_pb2.PredictionLog.FromString(record)
    request = log.predict_log.request
    assert log.WhichOneof("log_type") == "predict_log" and not log.FindInitializationErrors()
    inputs = {name: tf.constant(tf.make_ndarray(t)) for name, t in request.inputs.items()}
    name = request.model_spec.signature_name
    return name, loaded[name](**inputs)


def test_every_record_of_the_warm_up_file_replays(exported, loaded):
    import tensorflow as tf

    records = list(tf.data.TFRecordDataset(str(exported / WARMUP)).as_numpy_iterator())
    answers = dict(replay(loaded, record) for record in records)
    assert answers.keys() == SIGNATURES.keys() and len(records) == 3
    assert len(answers["serving_default"]["restored_bytes"]) == 2  # a PNG and a JPEG
    assert all(answers[name]["restored"].shape == (1, 128, 128, 3) for name in ("float32", "uint8"))


@pytest.mark.parametrize(
    "number, wire", [(0, b"\0"), (127, b"\x7f"), (300, b"\xac\x02"), (1 << 14, b"\x80\x80\1")]
)
def test_numbers_are_on_the_wire_as_protocol_buffers_have_them(number, wire):
    from tf_deblur.export import warmup

    assert warmup.encode_varint(number) == wire


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Compiles client.c against the libraries in TensorFlow's wheel."""
    import tensorflow as tf

    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    wheel = pathlib.Path(tf.__file__).parent
    libraries = [wheel / f"libtensorflow_{name}.so.2" for name in ("cc", "framework")]
    program = tmp_path_factory.mktemp("client") / "client"
    source = pathlib.Path(__file__).parent / "client.c"
    line = ["gcc", "-Wall", "-Werror", "-O1", source, "-o", program, "-isystem", wheel / "include"]
    line = [*map(str, [*line, *libraries]), f"-Wl,-rpath,{wheel}"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return program


def test_a_c_program_gets_kerass_picture_and_a_wrong_rank_is_refused(
    exported, client, keras_restore, picture, tmp_path
):
    even, odd = (np.float32(picture(*size) / 255)[None] for size in [(64, 96), (45, 77)])
    arrays = [even, even[0], odd, even[..., :1], even[None], np.concatenate([odd, odd[:, ::-1]])]
    definition = definitions(exported / "compact/1")["float32"]
    names = [definition.inputs["image"].name, definition.outputs["restored"].name]
    line, files = [client, exported / "compact/1", *names], []
    for number, array in enumerate(arrays):
        files.append(tmp_path / f"{number}.floats")
        np.ascontiguousarray(array).tofile(files[-1])
        line += ["x".join(map(str, array.shape)), files[-1]]
    done = subprocess.run([*map(str, line)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr  # an abort would be -6
    said = done.stdout.splitlines()
    for file, array, answer in zip(files, arrays, said, strict=True):
        if array.ndim == 4 and array.shape[-1] == 3:
            assert answer == "ok"
            restored = np.fromfile(f"{file}.out", np.float32).reshape(array.shape)
            assert np.abs(restored - keras_restore(array)).max() < 1e-5
        else:
            assert "[?,?,?,3]" in answer


def test_python_refuses_a_wrong_rank(loaded, picture):
    import tensorflow as tf

    with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError)):
        loaded["float32"](image=tf.zeros([8, 8, 3]))


def test_a_second_export_is_the_next_version(small_workdir, exported, tmp_path, run):
    (tmp_path / "out/compact/7").mkdir(parents=True)
    done = run("export", "--model", small_workdir, "--output=out", "--formats=saved_model")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "out").rglob("*") if path.is_dir()} == {
        *("compact", "7", "8", "variables", "assets", "assets.extra")
    }
    assert str(pathlib.Path("out/compact/8")) in done.stdout


def test_a_version_is_never_overwritten(run, small_workdir, tmp_path):
    wanted = ["--model", small_workdir, "--output=out", "--formats=saved_model", "--version=7"]
    assert run("export", *wanted).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    done = run("export", *wanted)
    assert done.returncode == 1 and "compact/7: is there already" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_of_two_exports_at_once_the_second_leaves_the_first_alone(tmp_path):
    from tf_deblur.files import whole

    with pytest.raises(OSError), whole(tmp_path / "1", replace=False) as part:
        part.mkdir()
        with pytest.raises(ValueError):  # what polls takes folders whose names are numbers
            int(part.name)
        (tmp_path / "1").mkdir()
        (tmp_path / "1/first").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["1", "first"]


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


def test_the_example_configuration_is_one_that_the_server_reads():
    from google.protobuf import text_format

    folder = pathlib.Path(__file__).parents[1] / "examples/serving"
    names = {path.name for path in folder.iterdir()}
    flags = (folder / "compose.yaml").read_text()
    for name in names - {"compose.yaml"}:
        assert f"=/config/{name}" in flags
    config = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2",
        reason="needs tensorflow-serving-api",
    ).ModelServerConfig()
    text_format.Parse((folder / "models.config").read_text(), config)
    assert [model.base_path for model in config.model_config_list.config] == ["/models/compact"]


def test_its_weights_can_be_taken_back(exported, small_workdir):
    from tf_deblur.models import weights

    model = weights.load(small_workdir)
    before = weights.read_variables(model)
    for layer in model.layers:
        layer.set_weights([0 * value for value in layer.get_weights()])
    weights.load_into(model, exported / "compact")
    for name, value in weights.read_variables(model).items():
        np.testing.assert_array_equal(value, before[name])
