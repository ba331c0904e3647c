import base64
import concurrent.futures
import dataclasses
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import tf_deblur
from tf_deblur import devices
from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import photographs
from tf_deblur.restoring import engine, loading, restorer, serving_backend

FACTS = engine.Facts(size_multiple=8, radius=0, channels=3, pixel_bytes=100)


class FakeEngine(engine.Engine):
    """An engine is one method: here any function of a batch."""

    def __init__(self, function):
        super().__init__(FACTS)
        self.function = function

    def run(self, batch):
        self.batch = batch
        return self.function(batch)


def fake_restorer(function):
    return restorer.TiledRestorer("fake", FakeEngine(function))


@pytest.mark.parametrize("size", [(16, 24), (13, 21), (1, 1), (3, 40)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_network_that_changes_nothing_gives_the_same_picture_back(picture, size, dtype):
    image = picture(*size).astype(dtype)
    if np.issubdtype(dtype, np.floating):
        image = np.float32(image / 255).astype(dtype)
    again = fake_restorer(lambda batch: batch)(image)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, image)


def test_the_network_sees_a_picture_mirrored_up_to_its_size_multiple(picture):
    fake = fake_restorer(lambda batch: batch)
    image = picture(13, 21).astype(np.float32) / 255
    fake(image)
    assert fake.engine.batch.shape == (1, 16, 24, 3)
    np.testing.assert_array_equal(fake.engine.batch[0, :13, :21], image)
    np.testing.assert_array_equal(
        fake.engine.batch[0, 13:, :21], image[[11, 10, 9]]
    )  # row 12 is the edge
    np.testing.assert_array_equal(fake.engine.batch[0, :13, 21:], image[:, [19, 18, 17]])


def test_a_result_outside_the_range_is_clipped(picture):
    image = np.float32(picture(8, 8) / 255)
    restored = fake_restorer(lambda batch: 9 * batch - 4)(image)
    np.testing.assert_array_equal(restored, np.clip(9 * image - 4, 0, 1))


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (1, 8, 8, 3), (0, 8, 3)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="height, width, 3"):
        fake_restorer(lambda batch: batch)(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "image, words",
    [
        ("photo.jpg", "photographs.read"),
        (PIL.Image.new("RGB", (8, 8)), "numpy.asarray"),
        (np.full((8, 8, 3), 99.0), "floats far above 1; use floats in"),
    ],
)
def test_what_is_no_picture_in_memory_is_told_what_to_do(image, words):
    with pytest.raises(ValueError, match=words):
        fake_restorer(lambda batch: batch)(image)


@pytest.mark.parametrize("lamp", [1.5, 40.0])
def test_a_lamp_above_white_is_white(lamp):
    image = np.full((64, 64, 3), 0.5)
    image[2, 3] = lamp
    restored = fake_restorer(lambda batch: batch)(image)
    assert (restored[2, 3] == 1).all() and restored[0, 0, 0] == 0.5


def test_a_restorer_shows_what_it_runs_on(small_workdir):
    told = repr(load("openvino", small_workdir))
    assert re.fullmatch(rf"<TiledRestorer: {small_workdir} on .*OpenVINO in float32 .*>", told)


@pytest.fixture(scope="session")
def names(small_workdir, exported):
    """What a user may give to `load`, for each backend."""
    weights = [small_workdir, small_workdir / "generator.safetensors"]
    return {
        "tensorflow": weights,
        "openvino": weights,
        "saved_model": [exported / "compact/1", exported / "compact"],
        "tflite": [exported / "compact-tflite/compact-float32.tflite"],
    }


def load(backend, name, precision="float32"):
    """By the engine asked for, where there is a choice."""
    asked = {"backend": backend} if backend in loading.CHOICES else {}
    return tf_deblur.load(name, precision=precision, **asked)


@pytest.mark.parametrize("size", [(64, 96), (45, 77)])
def test_every_backend_gives_keras_picture(names, small_workdir, picture, size):
    from tf_deblur.models import networks, weights

    blurred = np.float32(picture(*size) / 255)
    keras = networks.restore(weights.load(small_workdir), blurred[None]).numpy()[0]
    assert np.abs(keras - blurred).mean() > 0.05  # these weights do something
    ours = {engine for engine, row in loading.ENGINES.items() if not row.foreign}
    assert {*names, "serving"} == ours  # the others are test_foreign.py's
    for backend in names:
        for name in names[backend]:
            restore = load(backend, name)
            its = restore.engine.facts
            assert type(restore.engine).__name__ == loading.ENGINES[backend].maker
            assert (its.size_multiple, its.channels, restore.precision) == (8, 3, "float32")
            assert its.radius == networks.compute_radius(weights.load(small_workdir))
            assert np.abs(restore(blurred) - keras).max() < 1e-4, name


def test_the_weights_that_ship_give_keras_picture_by_every_engine(run, picture, tmp_path):
    from tf_deblur.models import networks, weights

    few = ["--sizes=any", "--variants=float32"]
    done = run("export", "--model=compact", "--output=exported", *few)
    assert (done.returncode, done.stderr) == (0, "")
    blurred = np.float32(picture(93, 77) / 255)
    keras = np.asarray(networks.restore(weights.load("compact"), blurred[None]))[0]
    assert np.abs(keras - blurred).max() > 0.02
    for backend in ("tensorflow", "openvino"):
        assert np.abs(load(backend, "compact")(blurred) - keras).max() < 3e-7, backend
    for name in ("exported/compact", "exported/compact-tflite/compact-float32.tflite"):
        restore = tf_deblur.load(tmp_path / name, precision="float32")
        assert np.abs(restore(blurred) - keras).max() < 1e-4, name


@pytest.mark.parametrize("backend", ["tensorflow", "openvino", "saved_model"])
def test_bfloat16_is_near_and_does_not_leak(names, picture, backend):
    import keras

    blurred = np.float32(picture(64, 96) / 255)
    exact = load(backend, names[backend][0])
    rough = load(backend, names[backend][0], "bfloat16")
    before = exact(blurred)
    difference = np.abs(rough(blurred) - before)
    assert difference.max() < 0.1 and difference.mean() < 0.01
    if devices.choose_precision("auto")[0] == "bfloat16":
        assert difference.max() > 0  # the graph was rewritten
    np.testing.assert_array_equal(exact(blurred), before)
    assert keras.mixed_precision.global_policy().name == "float32"
    options = tf.config.optimizer.get_experimental_options()
    assert not options.get(devices.BFLOAT16_GRAPHS)


HAS_INT8 = devices.find_unit(devices.INT8_UNITS)


@pytest.mark.skipif(not HAS_INT8, reason="the processor has no unit for it")
def test_int8_is_within_a_level_of_float32_on_a_photograph_it_was_not_calibrated_by():
    blurred = photographs.read("examples/photographs/plaza-at-night.jpg")[100:360, 200:500]
    exact, rough = (load("openvino", "compact", p)(blurred) for p in ("float32", "int8"))
    difference = np.abs(exact.astype(int) - rough)
    assert 0 < difference.mean() < 1 and (difference > 4).mean() < 0.01
    assert np.abs(exact.astype(int) - blurred).mean() > 3 * difference.mean()  # what is restored


def test_int8_is_refused_in_a_line_where_it_cannot_be(names, small_workdir, monkeypatch):
    for backend, said in [("tensorflow", "on OpenVINO"), ("saved_model", "on OpenVINO")]:
        with pytest.raises(UserError, match=said):
            load(backend, names[backend][0], "int8")
    monkeypatch.setattr(devices, "find_unit", lambda units: None)
    with pytest.raises(UserError, match="no unit for it") as raised:
        load("openvino", small_workdir, "int8")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("backend", ["tensorflow", "openvino"])
def test_threads_may_share_a_restorer(small_workdir, picture, backend):
    restore = load(backend, small_workdir)
    pictures = [picture(160, 160, seed) for seed in range(8)]
    expected = [restore(blurred) for blurred in pictures]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        np.testing.assert_array_equal(list(threads.map(restore, pictures)), expected)


def test_a_users_own_policy_changes_nothing(small_workdir, picture):
    import keras

    blurred = picture(32, 32)
    expected = load("tensorflow", small_workdir)(blurred)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        restored = load("tensorflow", small_workdir)(blurred)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_array_equal(restored, expected)


def test_openvino_is_chosen_where_it_is_installed_and_wants_no_tensorflow(small_workdir):
    script = """
import sys
import numpy as np
import tf_deblur
print(tf_deblur.load(sys.argv[1])(np.zeros((8, 8, 3), np.uint8)).shape, "tensorflow" in sys.modules)
sys.modules["openvino"] = None
del sys.modules["tf_deblur.restoring.openvino_backend"]
print(tf_deblur.load(sys.argv[1]).device)
"""
    line = [sys.executable, "-c", script, small_workdir]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == ["(8, 8, 3) False", devices.name_processor()], done.stderr


def test_auto_says_what_it_chose_and_why(small_workdir):
    restore = tf_deblur.load(small_workdir)
    assert restore.precision in ("float32", "bfloat16")
    assert restore.device in str(restore) and restore.precision in str(restore)


@pytest.mark.parametrize("backend", ["tensorflow", "openvino", "saved_model", "tflite"])
def test_tiles_give_the_whole_pictures_result(names, picture, backend):
    restore = load(backend, names[backend][0])
    blurred = np.float32(picture(203, 301) / 255)
    whole = restore(blurred)
    least = (2 * restore.engine.facts.radius + 80) ** 2
    assert least < blurred.size / 3
    restore.memory = least * restore.engine.facts.pixel_bytes
    assert len(restore.plan_tiles(203, 301)) > 2
    assert np.abs(restore(blurred) - whole).max() < 1e-5


@pytest.mark.parametrize("corner", [0, -1])
@pytest.mark.parametrize("preset", ["paper", "compact"])
def test_with_weights_that_reach_every_corner_no_smaller_margin_would_do(preset, corner):
    from tf_deblur.models import networks
    from tf_deblur.restoring import tiling

    arguments = {
        "paper": {"filters": 2, "blocks": 2, "output_activation": "linear"},
        "compact": {"filters": (4, 4, 4), "middle": 1},
    }[preset]
    model = networks.build_generator(preset, **arguments)
    for layer in model.layers:  # each convolution looks into one corner, and passes on all of it
        if layer.weights:
            kernel, bias = (np.zeros_like(w) for w in layer.get_weights())
            kernel[corner, corner] = 1 / kernel.shape[2]
            layer.set_weights([kernel, bias])
    radius, multiple = networks.compute_radius(model), networks.compute_size_multiple(model)
    side = 8 * (2 * radius // 8 + 20)
    image = np.random.default_rng(0).random((side, side + 8, 3), "float32")

    def run(tile):
        return model(tile[None], training=False).numpy()[0]

    def join(margin):
        tiles = tiling.Tiles(*image.shape[:2], core=(64, 64), margin=margin)
        return tiling.apply(run, image, tiles)

    whole, margin = run(image), -(-radius // multiple) * multiple
    scale = np.abs(whole).max()
    assert np.abs(join(margin) - whole).max() < 1e-5 * scale
    assert np.abs(join(margin - multiple) - whole).max() > 1e-4 * scale


def test_a_gpu_that_runs_out_gets_smaller_tiles_and_no_pixel_counts_twice(picture, capsys):
    sizes, done = [], []

    def run_out(batch):
        sizes.append(batch[0].size)
        if len(sizes) == 2:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return batch

    fake = fake_restorer(run_out)
    fake.engine.ran_out = tf.errors.ResourceExhaustedError
    fake.memory = 7000 * fake.engine.facts.pixel_bytes
    image = picture(120, 96)
    np.testing.assert_array_equal(fake(image, done.append), image)
    assert max(sizes[2:]) < sizes[0] and sum(done) == 120 * 96
    assert "out of memory; from here on" in capsys.readouterr().err
    said = []
    fake.say = said.append
    sizes.clear()
    fake.memory = 7000 * fake.engine.facts.pixel_bytes
    np.testing.assert_array_equal(fake(image, done.append), image)
    assert len(said) == 1 and "out of memory" in said[0] and min(done) < 0
    assert capsys.readouterr().err == ""


def test_too_little_memory_is_said_and_what_is_said_is_enough(picture):
    fake = fake_restorer(lambda batch: batch)
    fake.engine.facts = dataclasses.replace(FACTS, radius=187)
    fake.memory = 1e6
    with pytest.raises(UserError, match=r"wants at least [0-9.]+, see --memory_gb") as error:
        fake(picture(500, 500))
    fake.memory = 1e9 * float(str(error.value).split()[-3].strip(","))
    np.testing.assert_array_equal(fake(picture(500, 500)), picture(500, 500))


@pytest.mark.parametrize("level", [0, 20, 128, 255])
def test_what_is_no_number_fails_the_check_and_the_input_is_kept(level):
    from tf_deblur.restoring import pipeline

    image = np.full((128, 128, 3), level, np.uint8)
    result, share = pipeline.restore_checked(
        fake_restorer(lambda batch: np.full_like(batch, np.nan)), image
    )
    np.testing.assert_array_equal(result, image)
    assert share == 1


class FakeServing(http.server.BaseHTTPRequestHandler):
    """Answers as TensorFlow Serving does; its network turns a picture's brightness round."""

    def do_GET(self):
        there = {"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}
        found = self.path == "/v1/models/fake"
        self.reply(200 if found else 404, there if found else {"error": "not there"})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.answers:
            return self.reply(*self.server.answers.pop(0))
        if self.server.signatures:
            return self.reply(200, {"outputs": self.exported(request)})
        if request["signature_name"] == "float32":
            return self.reply(200, {"outputs": (1 - np.array(request["inputs"]["image"])).tolist()})
        data = base64.b64decode(request["inputs"]["image_bytes"][0]["b64"])
        inverse = 255 - cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        file = base64.b64encode(cv2.imencode(".png", inverse)[1].tobytes()).decode()
        return self.reply(200, {"outputs": [{"b64": file}]})

    def exported(self, request):
        """What an export answers, as the server writes it."""
        function = self.server.signatures[request["signature_name"]]
        [(name, values)] = request["inputs"].items()
        if not name.endswith("_bytes"):
            return function(**{name: np.float32(values)})["restored"].numpy().tolist()
        files = tf.constant([base64.b64decode(value["b64"]) for value in values])
        answers = function(**{name: files})["restored_bytes"].numpy()
        return [{"b64": base64.b64encode(answer).decode()} for answer in answers]

    def reply(self, status, answer):
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def serving():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeServing)
    server.signatures = {}  # of an export that answers in its place
    server.answers = []  # (status, answer) that are given before it works
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def at_once(monkeypatch):
    retries = serving_backend.RETRIES.new(backoff_factor=0, backoff_jitter=0)
    monkeypatch.setattr(serving_backend, "RETRIES", retries)


def test_a_model_behind_a_url_restores_every_type_and_waits_while_it_is_busy(
    serving, picture, at_once
):
    url = f"http://127.0.0.1:{serving.server_port}/v1/models/fake"
    restore = tf_deblur.load(url)
    assert url in str(restore)
    serving.answers = [(503, {"error": "full"}), (429, {"error": "slowly"})]
    np.testing.assert_array_equal(restore(picture(13, 21)), 255 - picture(13, 21))
    deep = picture(13, 21).astype(np.uint16) * 257
    np.testing.assert_array_equal(restore(deep), 65535 - deep)
    large = np.zeros((2001, 2000, 3), np.uint8)
    assert (restore(large) == 255).all()
    with pytest.raises(BadPicture, match="4.0 megapixels: of pictures with more than 8 bits"):
        restore(large.astype(np.uint16))


def test_an_export_behind_a_url_gives_its_own_picture(serving, exported, picture):
    serving.signatures = tf.saved_model.load(str(exported / "compact/1")).signatures
    served = tf_deblur.load(f"http://127.0.0.1:{serving.server_port}/v1/models/fake")
    here = tf_deblur.load(exported / "compact", precision="float32")
    for image in (picture(45, 77), picture(45, 77).astype(np.uint16) * 257):
        apart = np.abs(np.int64(served(image)) - here(image))
        assert apart.max() <= 1 and served(image).dtype == image.dtype


def test_what_a_server_refuses_is_told_in_its_words(serving, picture, at_once):
    url = f"http://127.0.0.1:{serving.server_port}/v1/models/fake"
    restore = tf_deblur.load(url)
    for answers, kind, message in [
        ([(503, {"error": "full"})] * 6, UserError, "status 503: full"),
        ([(400, {"error": "too\n\t [[{{node x}}]]"})], BadPicture, "status 400: too$"),
        ([(504, {"error": "late"})], BadPicture, "late; raise its --rest_api_timeout_in_ms"),
        ([(500, "no object")], UserError, "status 500: Internal Server Error"),
        ([(200, {"outputs": [{"b64": "AAAA"}]})], UserError, "not a whole picture"),
        ([(200, {"predictions": []})], UserError, "not the answer of a model"),
    ]:
        serving.answers = answers
        with pytest.raises(kind, match=message) as raised:
            restore(picture(13, 21))
        assert type(raised.value) is kind and "\n" not in str(raised.value)
        assert not serving.answers
    with pytest.raises(UserError, match="status 404: not there"):
        tf_deblur.load(url + "r")
    for nowhere in ("http://127.0.0.1:9/v1/models/fake", "http://[", "http://127.0.0.1:x/"):
        with pytest.raises(UserError, match="no answer"):
            tf_deblur.load(nowhere)


def test_a_server_that_hangs_is_given_up(serving, monkeypatch):
    monkeypatch.setattr(serving_backend, "SECONDS", 0.1)
    monkeypatch.setattr(FakeServing, "do_GET", lambda self: time.sleep(1))
    with pytest.raises(UserError, match="no answer .*timed out"):
        tf_deblur.load(f"http://127.0.0.1:{serving.server_port}/v1/models/fake")


def test_what_cannot_be_loaded_is_named_in_one_line(tmp_path, exported):
    copy = tmp_path / "compact.tflite"
    file = exported / "compact-tflite/compact-float32.tflite"
    copy.write_bytes(file.read_bytes())
    (tmp_path / "cut.tflite").write_bytes(copy.read_bytes()[:10_000])
    (tmp_path / "cut.json").write_text(file.with_suffix(".json").read_text())
    cut = tmp_path / "cut/1"
    shutil.copytree(exported / "compact/1", cut)
    variables = cut / "variables/variables.data-00000-of-00001"
    variables.write_bytes(variables.read_bytes()[:10_000])
    broken = tmp_path / "broken/1"
    (broken / "assets.extra").mkdir(parents=True)
    (broken / "saved_model.pb").write_text("not a network")
    (broken / "assets.extra/model.json").write_text(file.with_suffix(".json").read_text())
    wrong = {
        "nothing": "no such model",
        tmp_path: "generator.safetensors",
        tmp_path / "missing.tflite": "no such file",
        copy: "compact.json",
        tmp_path / "cut.tflite": "damaged",
        tmp_path / "cut": "damaged",
        tmp_path / "broken": "damaged",
    }
    for name, message in wrong.items():
        with pytest.raises(UserError, match=message) as raised:
            tf_deblur.load(name)
        assert str(tmp_path) in str(raised.value) or name == "nothing"
        assert "\n" not in str(raised.value)
    for backend, message in [("tensorflow", "an engine of its own"), ("abacus", "use auto, tens")]:
        with pytest.raises(UserError, match=message):
            tf_deblur.load(exported / "compact", backend=backend)
    with pytest.raises(UserError, match="float8"):
        tf_deblur.load(exported / "compact", precision="float8")
