"""Networks that others trained, in files that none of our code wrote."""

import functools
import io
import json
import re
import struct
import sys
import tarfile

import numpy as np
import pytest
import tensorflow as tf

import tf_deblur
from tf_deblur import errors
from tf_deblur.errors import BadPicture, UserError
from tf_deblur.restoring import blending, engine, ensemble, foreign, restorer
from tf_deblur.scoring import methods

ZERO_TO_ONE = {"range": [0, 1]}
ENGINES = ["OpenVINO", "ONNX Runtime"]


def load(path, facts=ZERO_TO_ONE, **more):
    return tf_deblur.load(path, precision="float32", model_facts=facts, **more)


@pytest.fixture
def by(monkeypatch):
    """Leaves one of ENGINES installed."""

    def choose(runtime):
        pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: pip install '.[onnx]'")
        if runtime == "ONNX Runtime":
            monkeypatch.setitem(sys.modules, "openvino", None)

    return choose


@pytest.fixture(scope="module")
def torch_files(tmp_path_factory):
    """(file, what PyTorch makes of a picture) of `compact` and of one with attention."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install '.[bench]'")
    pytest.importorskip("onnx", reason="needs onnx: pip install '.[onnx]'")
    functional, folder = torch.nn.functional, tmp_path_factory.mktemp("torch")
    torch.manual_seed(0)

    class Attention(torch.nn.Module):
        """Every channel looks at every other one, over the whole picture."""

        def __init__(self):
            super().__init__()
            self.head, self.tail = (torch.nn.Conv2d(*n, 3, padding=1) for n in ((3, 8), (8, 3)))
            self.ask = torch.nn.Conv2d(8, 24, 1)

        def forward(self, image):
            x = self.head(image)
            query, key, value = self.ask(x).flatten(2).chunk(3, 1)
            query, key = (functional.normalize(part, dim=-1) for part in (query, key))
            seen = (query @ key.transpose(1, 2)).softmax(-1) @ value
            return image + self.tail(x + seen.reshape(x.shape))

    class Compact(torch.nn.Module):
        """Our own residual U-shape, smaller."""

        def __init__(self):
            super().__init__()
            sizes = [(12, 8, 3), (8, 8, 3), (32, 16, 1), (16, 16, 3), (16, 32, 1), (8, 12, 3)]
            self.convs = torch.nn.ModuleList(
                torch.nn.Conv2d(*size, padding=size[2] // 2) for size in sizes
            )

        def forward(self, image):
            head, block, down, middle, up, tail = self.convs
            x = head(functional.pixel_unshuffle(image, 2))
            skip = x + block(torch.relu(x))
            x = down(functional.pixel_unshuffle(skip, 2))
            x = functional.pixel_shuffle(up(x + middle(torch.relu(x))), 2) + skip
            return image + functional.pixel_shuffle(tail(x), 2)

    picture = torch.rand(1, 3, 48, 64)
    found = {"picture": picture[0].permute(1, 2, 0).numpy()}
    for name, network in (("attention", Attention()), ("compact", Compact())):
        any_size = {"image": {2: "height", 3: "width"}, "restored": {2: "height", 3: "width"}}
        for kind, axes in (("free", any_size), ("fixed", {})):
            path = folder / f"{name}-{kind}.onnx"
            names = {"input_names": ["image"], "output_names": ["restored"]}
            with errors.quiet():
                torch.onnx.export(
                    network.eval(), (picture,), path, **names, dynamic_axes=axes, dynamo=False
                )
            with torch.no_grad():
                restored = network(picture)[0].permute(1, 2, 0).numpy()
            found[name, kind] = path, restored
    return found


@pytest.mark.parametrize("runtime", ENGINES)
@pytest.mark.parametrize("kind", ["free", "fixed"])
@pytest.mark.parametrize("name", ["attention", "compact"])
def test_onnx_gives_pytorchs_result(torch_files, by, name, kind, runtime):
    by(runtime)
    path, expected = torch_files[name, kind]
    restore = load(path)
    assert runtime in restore.device and restore.engine.facts.channels == 3
    assert restore.engine.facts.fixed_size == ((48, 64) if kind == "fixed" else None)
    picture = torch_files["picture"]
    np.testing.assert_allclose(restore.engine.run(picture[None])[0], expected, atol=1e-4)
    np.testing.assert_allclose(restore(picture), expected.clip(0, 1), atol=1e-4)


def make_onnx(path, nodes, weights, shape=(1, 3, None, None), made=None, metadata=(), opset=17):
    """Writes an ONNX file of (kind, inputs, output, attributes) from `image` to `restored`."""
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install '.[onnx]'")
    helper = onnx.helper
    nodes = [helper.make_node(kind, ins, [out], **more) for kind, ins, out, more in nodes]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sides)
        for name, sides in (("image", shape), ("restored", made or shape))
    ]
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, dict(metadata))
    onnx.save(model, path)
    return path


def kernels(*shapes):
    rng = np.random.default_rng(0)
    return {f"w{n}": rng.normal(0, 0.2, shape).astype("f4") for n, shape in enumerate(shapes)}


STRIDED = [
    ("Conv", ["image", "w0"], "a", {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("Relu", ["a"], "b", {}),
    ("Conv", ["b", "w1"], "c", {"dilations": [3, 3], "pads": [3, 3, 3, 3]}),
    ("ConvTranspose", ["c", "w2"], "d", {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("Add", ["d", "image"], "restored", {}),
]


@pytest.mark.parametrize("runtime", ENGINES)
def test_the_reach_of_convolutions_is_read_and_tiles_give_the_whole_picture(
    by, runtime, picture, tmp_path
):
    by(runtime)
    path = make_onnx(
        tmp_path / "net.onnx", STRIDED, kernels((8, 3, 3, 3), (8, 8, 3, 3), (8, 3, 4, 4))
    )
    restore = load(path)
    facts = restore.engine.facts
    # pixel o of the last sees cells (o - 2) / 2 to (o + 1) / 2, those 3 more, those their pixels
    assert (facts.radius, facts.size_multiple, facts.parameters) == (9, 2, 216 + 576 + 384)
    # 27 * 8 and 72 * 8 at a quarter of the pixels, 8 * 3 * 16 from a quarter
    assert restore.engine.count_multiply_adds() == (216 + 576 + 384) / 4
    blurred = np.float32(picture(150, 203) / 255)
    whole = restore(blurred)
    restore.memory = facts.held_bytes + facts.pixel_bytes * 3000
    assert len(restore.plan_tiles(150, 203)) > 4
    np.testing.assert_allclose(restore(blurred), whole, atol=1e-5)


def test_what_an_onnx_file_says_of_itself_is_heard(picture, tmp_path):
    """Half of white stays where it is, whatever the range."""
    nodes = [("Mul", ["image", "w0"], "restored", {})]
    weights = {"w0": np.array([0.5], np.float32)}
    said = {"range": "[-1, 1]", "radius": "five", "layout": "[]"}  # two mean something else
    path = make_onnx(tmp_path / "net.onnx", nodes, weights, metadata=said)
    image = picture(8, 8)
    expected = (np.float32(image / 255) * 2 - 1) / 2 / 2 + 0.5
    np.testing.assert_allclose(load(path, None)(image) / 255, expected, atol=0.6 / 255)
    (tmp_path / "net.json").write_text('{"range": [0, 255]}')
    np.testing.assert_array_equal(load(path, None)(image), np.rint(image / 2))
    assert tf_deblur.load(path, model_facts='{"range": [0, 1]}')(image).max() < 128


CONVOLVE = ("Conv", ["padded", "w0"], "restored", {})
PADS = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}


@pytest.mark.parametrize("mode, opset", [("reflect", 17), ("wrap", 19)])
def test_networks_that_pad_in_their_own_ways_take_any_picture(by, picture, tmp_path, mode, opset):
    """OpenVINO does not wrap, and ONNX Runtime is asked then."""
    by("OpenVINO")
    pad = ("Pad", ["image", "pads"], "padded", {"mode": mode})
    weights = kernels((3, 3, 3, 3)) | PADS
    path = make_onnx(tmp_path / "net.onnx", [pad, CONVOLVE], weights, opset=opset)
    restore, blurred = load(path), np.float32(picture(20, 31) / 255)
    assert restore.engine.facts.radius == {"reflect": 1, "wrap": None}[mode]
    padded = np.pad(blurred, [(1, 1), (1, 1), (0, 0)], mode)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
    expected = np.einsum("hwcij,ocij->hwo", windows, weights["w0"]).clip(0, 1)
    np.testing.assert_allclose(restore(blurred), expected, atol=1e-5)
    for size in ((1, 1), (2, 30), (1, 300)):
        assert restore(blurred[: size[0], : size[1]]).ndim == 3


@pytest.mark.parametrize("count", [1, 8])
def test_pictures_of_any_size_by_a_network_of_one(picture, tmp_path, count):
    identity = {"w0": np.float32(np.eye(3)[:, :, None, None] * np.pad([[1]], 1))}
    same = [("Conv", ["image", "w0"], "restored", {"pads": [1, 1, 1, 1]})]
    restore = load(make_onnx(tmp_path / "net.onnx", same, identity, (1, 3, 64, 48)))
    assert restore.engine.facts.radius == 1
    for size in ((1, 1), (3, 500), (64, 48), (100, 131)):
        image = picture(*size)
        np.testing.assert_array_equal(ensemble.Ensemble(restore, count)(image), image)


def test_a_network_that_knows_where_a_pixel_is_has_no_finite_reach(tmp_path):
    places = {"w0": np.float32(np.random.default_rng(0).random((1, 1, 64, 64)))}
    weighted = [("Mul", ["image", "w0"], "restored", {})]
    path = make_onnx(tmp_path / "places.onnx", weighted, places, (1, 3, 64, 64))
    assert load(path).engine.facts.radius is None
    counted = [
        ("Shape", ["image"], "sides", {"start": 3}),
        ("Squeeze", ["sides"], "wide", {}),
        ("Range", ["w0", "wide", "w1"], "columns", {}),
        ("Cast", ["columns"], "numbers", {"to": 1}),
        ("Mul", ["image", "numbers"], "restored", {}),
    ]
    path = make_onnx(tmp_path / "n.onnx", counted, {"w0": np.array(0), "w1": np.array(1)})
    assert load(path).engine.facts.radius is None


def test_sizes_are_multiples_of_every_step(tmp_path):
    nodes = []
    for block in (2, 3):
        side = {"blocksize": block}
        nodes += [("SpaceToDepth", ["image"], f"down{block}", side)]
        nodes += [("DepthToSpace", [f"down{block}"], f"up{block}", side)]
    nodes += [("Add", ["up2", "up3"], "restored", {})]
    assert load(make_onnx(tmp_path / "net.onnx", nodes, {})).engine.facts.size_multiple == 6


@pytest.mark.parametrize("power, most", [(1, np.inf), (2, 128**2)])
def test_memory_that_grows_faster_than_pixels_bounds_tiles(tmp_path, power, most):
    (tmp_path / "net").write_text("")

    def run(batch):
        pixels = batch.shape[1] * batch.shape[2]
        return batch * np.ones(2000 * pixels if power == 1 else pixels**2, np.uint8)[-1]

    network = foreign.Network(run, (1, None, None, 3), "float32")
    made = foreign.ForeignEngine(tmp_path / "net", network, ZERO_TO_ONE, "float32", "", "")
    assert made.facts.tile_pixels == most
    each = 2000 if power == 1 else 128**2
    assert each < made.facts.pixel_bytes < 2 * each  # an allocator keeps what it likes


def test_what_fails_at_one_size_is_a_line(tmp_path):
    (tmp_path / "net").write_text("")

    def run(batch):
        if batch.shape[2] == 300:
            raise RuntimeError("Exception from a.cpp:1:\nCheck 'b' failed:\nnot so wide")
        return batch

    network = foreign.Network(run, (1, None, None, 3), "float32")
    made = foreign.ForeignEngine("net", network, ZERO_TO_ONE, "float32", "", "")
    with pytest.raises(BadPicture, match=r"^net does not run on 300x20 \(not so wide\)$"):
        restorer.TiledRestorer("net", made)(np.zeros((20, 300, 3), np.uint8))


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    """A network of Keras's own layers, by Keras alone: (file, folder of a SavedModel, model)."""
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, 2, "same", activation="relu")(image)
    x = keras.layers.Conv2DTranspose(3, 4, 2, "same")(x)
    model = keras.Model(image, keras.layers.Add()([image, x]))
    folder = tmp_path_factory.mktemp("keras")
    model.save(folder / "net.keras")
    with errors.quiet():
        function = tf.function(model, [tf.TensorSpec([1, None, None, 3], tf.float32)])
        module = tf.Module()
        module.model = model
        saved = {"serving_default": function.get_concrete_function()}
        tf.saved_model.save(module, str(folder / "net"), saved)
    return folder / "net.keras", folder / "net", model


@pytest.mark.parametrize("kind", [0, 1])
def test_keras_files_and_saved_models_of_others(keras_file, kind, picture):
    blurred = np.float32(picture(66, 94) / 255)
    expected = np.asarray(keras_file[2](blurred[None]))[0].clip(0, 1)
    restore = load(keras_file[kind])
    assert np.abs(restore(blurred) - expected).max() < 1e-5
    facts = restore.engine.facts
    assert (facts.radius, facts.size_multiple) == (3, 2)
    assert facts.parameters == 27 * 8 + 8 + 8 * 3 * 16 + 3
    assert restore.engine.count_multiply_adds() == (27 * 8 + 8 * 3 * 16) / 4
    restore.memory = facts.held_bytes + facts.pixel_bytes * 1500
    assert len(restore.plan_tiles(66, 94)) > 3
    assert np.abs(restore(blurred) - expected).max() < 1e-5


@pytest.fixture(scope="module")
def tflite_file(keras_file):
    from tensorflow.python.framework import convert_to_constants

    path = keras_file[0].with_name("other.tflite")
    function = tf.function(keras_file[2], [tf.TensorSpec([1, None, None, 3], tf.float32)])
    with errors.quiet():  # of functions that Keras 3 made the converter leaves the weights out
        frozen = convert_to_constants.convert_variables_to_constants_v2(
            function.get_concrete_function()
        )
        path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert())
    return path


def test_a_tflite_file_of_others(tflite_file, keras_file, picture):
    blurred = np.float32(picture(66, 94) / 255)
    expected = np.asarray(keras_file[2](blurred[None]))[0].clip(0, 1)
    told = ZERO_TO_ONE | {"radius": 3, "size_multiple": 2}
    for facts in (told, told | {"radius": None}):
        assert np.abs(load(tflite_file, facts)(blurred) - expected).max() < 1e-5
    restore = load(tflite_file, told, threads=1)
    assert restore.engine.facts.radius == 3 and restore.device.startswith("1 thread of")


def test_a_run_goes_on_only_with_what_was_said_of_its_network(tflite_file, tmp_path):
    path = tmp_path / "other.tflite"
    path.write_bytes(tflite_file.read_bytes())
    facts = []
    for told in (ZERO_TO_ONE, ZERO_TO_ONE | {"tile_size": 64}, ZERO_TO_ONE):
        path.with_suffix(".json").write_text(json.dumps(told))
        facts.append(methods.open_models(str(path), "auto")[0].facts)
    assert facts[0] == facts[2] != facts[1]


def write_graph_model(folder, function):
    """A graph model of TensorFlow.js as its converter writes it, its weights in two shards."""
    from google.protobuf import json_format
    from tensorflow.python.framework import convert_to_constants

    frozen = convert_to_constants.convert_variables_to_constants_v2(function)
    graph, data, told = frozen.graph.as_graph_def(), b"", []
    for node in graph.node:
        if node.op == "Const":
            value = np.asarray(tf.make_ndarray(node.attr["value"].tensor))
            told.append({"name": node.name, "shape": value.shape, "dtype": value.dtype.name})
            node.attr["value"].tensor.ClearField("tensor_content")
            data += value.tobytes()
    names = ["group1-shard1of2.bin", "group1-shard2of2.bin"]
    ends = {
        "inputs": {"image": {"name": frozen.inputs[0].name}},
        "outputs": {"restored": {"name": frozen.outputs[0].name}},
    }
    model = {
        **{"format": "graph-model", "signature": ends},
        "modelTopology": json_format.MessageToDict(graph),
        "weightsManifest": [{"paths": names, "weights": told}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(model))
    for name, part in zip(names, (data[:100], data[100:])):
        (folder / name).write_bytes(part)
    return folder


@pytest.fixture(scope="module")
def graph_model(keras_file, tmp_path_factory):
    function = tf.function(keras_file[2], [tf.TensorSpec([1, None, None, 3], tf.float32)])
    folder = tmp_path_factory.mktemp("tfjs") / "package/models"
    return write_graph_model(folder, function.get_concrete_function())


def pack(path, folder, more=()):
    """As `npm pack` does it."""
    with tarfile.open(path, "w:gz") as package:
        package.add(folder.parent, "package")
        for name, data in dict(more).items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            package.addfile(about, io.BytesIO(data))
    return path


def test_a_graph_model_of_tensorflow_js(graph_model, keras_file, picture, tmp_path):
    blurred = np.float32(picture(66, 94) / 255)
    expected = np.asarray(keras_file[2](blurred[None]))[0].clip(0, 1)
    said = b"export default { inputRange: [0, 1,], divisibilityFactor: 16, }"
    package = pack(tmp_path / "net.tgz", graph_model, {"package/dist/index.js": said})
    restore = load(package, None)  # all of it stands in the package
    assert restore.engine.facts.size_multiple == 16
    for other in (restore, load(graph_model), load(graph_model / "model.json")):
        assert np.abs(other(blurred)[:60, :90] - expected[:60, :90]).max() < 1e-5


def see_whole(function, **facts):
    """A restorer of a network that sees everything, which is a function of a batch."""
    its = {"size_multiple": 8, "radius": None, "channels": 3, "pixel_bytes": 100} | facts
    made = engine.Engine(engine.Facts(**its))
    made.run = function
    return restorer.TiledRestorer("it", made)


@pytest.mark.parametrize("size", [(64, 64), (203, 301), (40, 500), (9, 7)])
def test_blended_tiles_of_a_network_that_changes_nothing_are_the_picture(picture, size):
    seen = []
    for facts in ({"tile_pixels": 64 * 96}, {"fixed_size": (64, 48), "smallest": (64, 48)}):
        restore, done = see_whole(lambda x: seen.append(x.shape) or x, **facts), []
        image = picture(*size)
        np.testing.assert_array_equal(restore(image, done.append), image)
        assert sum(done) >= size[0] * size[1]
        assert len(set(seen)) == 1 and np.prod(seen.pop()[1:3]) <= 64 * 96
        seen.clear()


def test_tiles_of_one_odd_size_reach_the_last_pixel(picture):
    facts = {"size_multiple": 16, "fixed_size": (43, 43), "smallest": (43, 43)}
    for size in ((96, 100), (43, 175)):
        image = picture(*size)
        np.testing.assert_array_equal(see_whole(lambda x: x, **facts)(image), image)


def test_out_of_memory_halves_the_tiles_and_leaves_the_picture_its_own(picture):
    sizes = []

    def run_out(batch):
        sizes.append(batch[0].size // 3)
        if sizes[-1] > 64 * 64:
            raise MemoryError
        return batch

    restore = see_whole(run_out)
    restore.engine.ran_out = MemoryError
    restore.memory = 100 * 96 * 96 + 48 * 400 * 400
    image = picture(400, 400)
    np.testing.assert_array_equal(restore(image), image)
    assert 64 * 64 / 4 <= min(sizes[-5:]) <= 64 * 64


@pytest.mark.parametrize("multiple", [1, 8, 48, 64, 192])
def test_blended_tiles_overlap_by_a_sixteenth_at_least(multiple):
    for count in range(1, 30):
        tiles = blending.BlendedTiles(192, 192 + count * multiple, (192, 192), multiple)
        begins = [across.start for _, across in tiles]
        assert np.diff(begins).max() <= 192 * 15 / 16 and begins[-1] == count * multiple
    assert len(blending.BlendedTiles(1, 9, (1, 1), 1)) == 9


def test_how_far_tiles_differ_where_they_overlap_is_told(picture):
    said = []
    restore = see_whole(lambda x: x / 2 + x.mean() / 2, tile_pixels=96 * 96)
    restore.say = said.append
    image = picture(203, 301)
    restored = restore(image)
    assert np.abs(restored.astype(int) - image).max() > 1
    [line] = said
    assert re.search(r"96x96 are blended, and differ by [0-9.]+ levels of 255", line), line
    restore(image)
    assert said == [line]  # once, unless it grows


def test_no_tile_needs_more_than_the_memory(picture):
    restore, beside = see_whole(lambda x: x, held_bytes=1_000_000), 400 * 600 * 48
    restore.memory = 1_000_000 + beside + 100 * 64 * 80
    assert restore.plan_tiles(400, 600).largest <= 64 * 80
    restore.memory = 1_000_100
    with pytest.raises(UserError, match="wants at least 0.013, see --memory_gb"):
        restore(picture(400, 600))


def test_the_largest_tile_is_as_square_as_the_picture_lets_it_be():
    choose = functools.partial(blending.choose_tile, multiple=8)
    assert choose(400, 600, 64 * 64) == (64, 64)
    assert choose(16, 600, 64 * 64) == (16, 256)
    assert choose(600, 16, 64 * 64) == (256, 16)
    assert choose(400, 600, 1e9) == (400, 600)
    assert 0 in choose(400, 600, 63)


def save_module(folder, function, *shape, count=1):
    with errors.quiet():
        taken = [tf.TensorSpec(shape, tf.float32, f"x{number}") for number in range(count)]
        concrete = tf.function(function, taken).get_concrete_function()
        tf.saved_model.save(tf.Module(), str(folder), {"serving_default": concrete})
    return folder


def wrong_files(tmp_path, graph_model, tflite_file):
    """(file, what is said of it) of what no picture comes out of, or nothing that is whole."""
    conv = [("Conv", ["image", "w0"], "restored", {"pads": [1, 1, 1, 1]})]
    weights = kernels((4, 4, 3, 3))
    four = make_onnx(tmp_path / "four.onnx", conv, weights, (1, 4, None, None))
    yield four, r"takes \(1, 4, any, any\), which is no picture of 3 channels"
    pool = [("GlobalAveragePool", ["image"], "a", {}), ("Flatten", ["a"], "restored", {})]
    several = make_onnx(tmp_path / "several.onnx", conv, weights, (4, 3, None, None))
    yield several, r"takes \(4, 3, any, any\), which is not one picture"
    classes = make_onnx(tmp_path / "classes.onnx", pool, {}, made=(1, 3))
    yield classes, r"gives \(1, 3\) for .*, which is no picture"
    sides = {"w0": np.array([1, 1, 2, 2], np.float32), "w1": np.array([], np.float32)}
    twice = [("Resize", ["image", "w1", "w0"], "restored", {"mode": "nearest"})]
    larger = make_onnx(tmp_path / "larger.onnx", twice, sides)
    yield larger, "gives 256x256 for 128x128: it changes sizes"
    text = tmp_path / "text.onnx"
    text.write_text("this is no network")
    yield text, "no whole ONNX file"
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(four.read_bytes()[:-200])
    yield cut, "no whole ONNX file"
    yield tmp_path / "missing.onnx", "no such file"
    lite = tmp_path / "cut.tflite"
    lite.write_bytes(tflite_file.read_bytes()[:-500])
    yield lite, "no whole .tflite file"
    lite = tmp_path / "text.tflite"
    lite.write_text("this is no network either")
    yield lite, "no whole .tflite file"
    whole = tflite_file.read_bytes()
    [root] = struct.unpack("<I", whole[:4])
    lite = tmp_path / "before.tflite"  # what its first table points to lies before the file
    lite.write_bytes(whole[:root] + struct.pack("<i", 2**31 - 1) + whole[root + 4 :])
    yield lite, "no whole .tflite file"
    broken = tmp_path / "shards/package/models"
    broken.mkdir(parents=True)
    (broken / "model.json").write_bytes((graph_model / "model.json").read_bytes())
    yield broken, "no graph model of TensorFlow.js, or not whole .*shard1of2"
    leads_out = pack(tmp_path / "out.tgz", graph_model, {"package/../../evil": b"x"})
    yield leads_out, "evil: a path that leads out of it"
    half = tmp_path / "half.tgz"
    half.write_bytes(leads_out.read_bytes()[:500])
    yield half, "no graph model of TensorFlow.js, or not whole"
    keras = tmp_path / "text.keras"
    keras.write_text("nor this")
    yield keras, "no network that TensorFlow opens"
    vector = save_module(tmp_path / "vector", lambda x: x, None, 10)
    yield vector, r"takes \(any, 10\), which is not one picture"
    grey = save_module(tmp_path / "grey", lambda x: x, None, None, None, 1)
    yield grey, r"takes \(any, any, any, 1\), which is no picture of 3 channels"
    strings = tmp_path / "layers"
    strings.mkdir()
    (strings / "model.json").write_text('{"format": "layers-model"}')
    yield strings, "its format is layers-model; graph-model is wanted"
    model = (graph_model / "model.json").read_text()
    (broken / "model.json").write_text(model.replace('"Conv2D"', '"Conv2E"'))
    for shard in graph_model.glob("*.bin"):
        (broken / shard.name).write_bytes(shard.read_bytes())
    yield broken, "no graph that TensorFlow runs .*Conv2E"
    (broken / shard.name).write_bytes(shard.read_bytes() + b"more")
    yield broken, "its shards have not the [0-9]+ bytes"
    (broken / "model.json").write_text("[" * 100_000)
    yield broken, "no graph model of TensorFlow.js, or not whole"


def test_wrong_files_are_a_line_each(tmp_path, graph_model, tflite_file):
    for path, message in wrong_files(tmp_path, graph_model, tflite_file):
        with pytest.raises(UserError, match=message) as raised:
            raise AssertionError(f"{path.name} opens as {load(path)}")
        assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_what_a_file_does_not_say_is_asked_in_a_line(graph_model, tmp_path, run):
    with pytest.raises(UserError, match="does not say which numbers are black and white; add"):
        load(graph_model, None)
    either = save_module(tmp_path / "either", lambda x: x, 1, None, None, None)
    with pytest.raises(UserError, match="does not say its layout"):
        load(either)
    assert load(either, ZERO_TO_ONE | {"layout": "NCHW"})
    two = save_module(tmp_path / "two", lambda x: {"a": x, "b": x}, 1, None, None, 3)
    with pytest.raises(UserError, match='gives a, b; say which by {"output": "a"}'):
        load(two)
    assert load(two, ZERO_TO_ONE | {"output": "b"})
    for facts, message in [
        ('{"range": [1, 0]}', r"--model_facts: range cannot be \[1, 0\]"),
        ({"rnage": [0, 1]}, "--model_facts: rnage: not known; use range, layout"),
        ({"layout": []}, r"--model_facts: layout cannot be \[\]"),
        ({"layout": "NCHW"}, "which is no picture of 3 channels, NCHW"),
        ("no/such.json", "no JSON that can be read"),
        ('{"range": ' + "[" * 100_000, "no JSON that can be read"),
    ]:
        with pytest.raises(UserError, match=message):
            load(graph_model, facts)
    both = save_module(tmp_path / "both", lambda x, y: x + y, 1, None, None, 3, count=2)
    with pytest.raises(UserError, match="takes .*, .*; one picture is given"):
        load(both)
    with pytest.raises(UserError, match="says all itself"):
        load("compact")


def test_the_command_takes_them_too(graph_model, picture, run, tmp_path):
    from tf_deblur.pictures import photographs

    photographs.write(tmp_path / "a.png", picture(40, 56))
    line = [f"--model={graph_model}", '--model_facts={"range": [0, 1]}', "--nocheck"]
    done = run("deblur", "a.png", *line)
    assert (done.returncode, done.stderr) == (0, "")
    assert "radius 3 pixels" in done.stdout and (tmp_path / "a_restored.png").exists()
    done = run("deblur", "a.png", line[0])
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    done = run("export", line[0], "--output=exported")
    assert done.returncode == 1 and "another's network, which `deblur`" in done.stderr


@pytest.mark.parametrize("count", ensemble.COUNTS)
def test_an_ensemble_is_the_mean_of_a_pictures_positions(picture, count):
    """Of a network that darkens what is right, as far as it is right: mirrored, the left too."""

    def darken(batch):
        return batch * np.linspace(1, 0, batch.shape[2], dtype=np.float32)[:, None]

    inner = see_whole(darken, size_multiple=1)
    image, done = np.float32(picture(40, 56) / 255), []
    across = np.linspace(1, 0, 56)[:, None]
    share = {1: across, 4: 0.5, 8: 0.5}[count]  # of each mirror what the other lacks
    restored = ensemble.Ensemble(inner, count)(image, done.append)
    np.testing.assert_allclose(restored, image * share, atol=1e-6)
    assert sum(done) == pytest.approx(image.size / 3)
    turned = ensemble.Ensemble(see_whole(lambda x: x, size_multiple=8), count)
    np.testing.assert_array_equal(turned(picture(45, 70)), picture(45, 70))


def test_an_ensemble_of_eight_is_the_same_of_a_turned_picture(picture):
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 0.2, (3, 3))

    def convolve(batch):
        image = np.pad(batch, [(0, 0), (1, 1), (1, 1), (0, 0)])
        size = batch.shape[1:3]
        cells = [(i, j) for i in range(3) for j in range(3)]
        return 0.4 + sum(
            kernel[i, j] * image[:, i : i + size[0], j : j + size[1]] for i, j in cells
        ).astype(np.float32)

    eight = ensemble.Ensemble(see_whole(convolve, size_multiple=1), 8)
    image = np.float32(picture(24, 37) / 255)
    np.testing.assert_allclose(eight(np.rot90(image)), np.rot90(eight(image)), atol=1e-6)
