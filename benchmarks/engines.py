"""The same network with the same weights on other engines, for restore.py and on_device.py.

PyTorch and ONNX are built from the generator's steps, as our own engines are, so that any
preset is the same network everywhere, with no second definition of it.
"""

import contextlib
import io
import os
import pathlib
import time

import numpy as np

WEIGHTS = "network.safetensors"
CORES = len(os.sched_getaffinity(0))  # every engine gets as many threads


class Engine:
    """One of ENGINES, whose network is timed: floats in, floats out, nothing around it."""

    def __init__(self, name, precision, folder):
        open_network, _ = ENGINES[name]
        self.run = open_network(pathlib.Path(folder), precision)

    def __call__(self, batch, kept=True):
        """(n, h, w, 3) float32 in [0, 1] -> seconds, and the same restored, or None."""
        begin = time.perf_counter()
        restored = self.run(batch)
        seconds = time.perf_counter() - begin
        return seconds, np.clip(restored, 0, 1) if kept else None


def open_ours(backend):
    def open_network(folder, precision):
        import tf_deblur

        return tf_deblur.load(folder / WEIGHTS, precision=precision, backend=backend).engine.run

    return open_network


def open_keras(folder, precision):
    import tensorflow as tf

    from tf_deblur import devices
    from tf_deblur.models import weights

    model = weights.load(folder / WEIGHTS)
    batch = tf.TensorSpec([None, None, None, 3], tf.float32)
    function = tf.function(lambda x: model(x, training=False), [batch]).get_concrete_function()

    def run(batch):
        with devices.use_bfloat16_graphs(precision == "bfloat16"):
            return function(tf.constant(batch)).numpy()

    return run


def open_tflite(folder, precision):
    import tf_deblur

    return tf_deblur.load(next(folder.rglob("*.tflite"))).engine.run


def open_torch(folder, precision):
    import torch

    torch.set_num_threads(CORES)
    forward = torch_network(*read(folder), dtype=getattr(torch, precision))

    def run(batch):
        with torch.inference_mode():  # (n, h, w, 3) seen as (n, 3, h, w) is channels_last already
            return forward(torch.from_numpy(batch).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()

    return run


def open_onnxruntime(folder, precision):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(onnx_network(*read(folder)), options, providers)

    def run(batch):
        return session.run(None, {"image": batch.transpose(0, 3, 1, 2)})[0].transpose(0, 2, 3, 1)

    return run


def open_converted(folder, precision):
    import openvino

    network = openvino.convert_model(folder / "keras")
    if precision == "int8":
        import nncf  # by its own settings, and by the pictures that ours is calibrated with

        from tf_deblur.pictures import photographs
        from tf_deblur.restoring.openvino_backend import CALIBRATION

        squares = np.split(photographs.read(CALIBRATION) / np.float32(255), 10)
        network = nncf.quantize(network, nncf.Dataset([square[None] for square in squares]))
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": CORES,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(network, "CPU", settings)
    return lambda batch: compiled([batch])[0]


BOTH = ("float32", "bfloat16")
ALL = (*BOTH, "int8")
OURS = ("ours on OpenVINO", "ours on TensorFlow")
ENGINES = {
    "Keras": (open_keras, BOTH),
    "ours on OpenVINO": (open_ours("openvino"), ALL),
    "ours on TensorFlow": (open_ours("tensorflow"), BOTH),
    "OpenVINO's converter": (open_converted, ALL),
    "TFLite": (open_tflite, BOTH[:1]),
    "PyTorch": (open_torch, BOTH),
    "ONNX Runtime": (open_onnxruntime, BOTH[:1]),
}


def prepare(name, folder):
    """Writes what the engines read: the network as weights, TFLite file and SavedModel."""
    from tf_deblur import errors, export
    from tf_deblur.export import tflite
    from tf_deblur.models import weights

    folder = pathlib.Path(folder)
    model = weights.load(name)
    weights.save(folder / WEIGHTS, model)
    tflite.write(model, export.describe(model, name), folder, ["float32"], [None])
    with errors.quiet(), contextlib.redirect_stdout(io.StringIO()):
        model.export(str(folder / "keras"))


def read(folder):
    """The steps, and the weights with kernels in (outputs, inputs, rows, columns) order."""
    from tf_deblur.models import weights

    steps, tensors = weights.read(folder / WEIGHTS)
    turned = {
        name: np.ascontiguousarray(value.transpose(3, 2, 0, 1) if value.ndim == 4 else value)
        for name, value in tensors.items()
    }
    return steps, turned


def torch_network(steps, tensors, dtype):
    """(n, 3, h, w) float32 in channels_last -> the same, computed in `dtype`."""
    import torch
    from torch.nn import functional

    tensors = {name: torch.as_tensor(value).to(dtype) for name, value in tensors.items()}
    for name in tensors:
        if name.endswith("/kernel"):
            tensors[name] = tensors[name].contiguous(memory_format=torch.channels_last)
    last = {name: step.name for step in steps for name in step.inputs}  # who reads it last

    # In TensorFlow's order of channels: row, column, channel. One copy each in channels_last.
    def space_to_depth(x, b):
        n, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(n, h // b, b, w // b, b, c).transpose(2, 3)
        return x.reshape(n, h // b, w // b, b * b * c).permute(0, 3, 1, 2)

    def depth_to_space(x, b):
        n, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(n, h, w, b, b, c // b**2).transpose(2, 3)
        return x.reshape(n, h * b, w * b, c // b**2).permute(0, 3, 1, 2)

    moves = {"SpaceToDepth": space_to_depth, "DepthToSpace": depth_to_space}

    def convolve(name, x, activation):
        kernel, bias = tensors[f"{name}/kernel"], tensors[f"{name}/bias"]
        x = functional.conv2d(x.to(dtype), kernel, bias, padding=kernel.shape[-1] // 2)
        return x.relu_() if activation == "relu" else x

    def forward(image):
        made = {"image": image}
        for step in steps[1:]:  # the first is the picture itself
            # what nobody reads again is given back at once
            read = (made.pop(i) if last[i] == step.name else made[i] for i in step.inputs)
            x, *other = read
            if step.kind == "Conv2D":
                made[step.name] = convolve(step.name, x, step.activation)
            elif step.kind == "Add":  # float32, where the picture is one of the two
                made[step.name] = x + other[0]
            else:
                made[step.name] = moves[step.kind](x, step.size)
        return made[step.name].float()

    return forward


def onnx_network(steps, tensors):
    """The network as the bytes of an ONNX file: (n, 3, h, w) float32 of any size."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = []
    for step in steps[1:]:  # the first is the picture itself
        name, inputs = step.name, list(step.inputs)
        if step.kind == "Conv2D":
            inputs += [f"{name}/kernel", f"{name}/bias"]
            linear = f"{name}/linear" if step.activation == "relu" else name
            nodes.append(helper.make_node("Conv", inputs, [linear], pads=[step.size // 2] * 4))
            if step.activation == "relu":
                nodes.append(helper.make_node("Relu", [linear], [name]))
        elif step.kind == "Add":
            nodes.append(helper.make_node("Add", inputs, [name]))
        else:  # ONNX has both, in TensorFlow's order of channels
            nodes.append(helper.make_node(step.kind, inputs, [name], blocksize=step.size))
    pictures = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, ["n", 3, "h", "w"])
        for end in (steps[0].name, steps[-1].name)
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "network", pictures[:1], pictures[1:], stored)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def picture(height, width):
    """Coloured blocks under noise, which JPEG files hold as badly as a photograph's detail."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(30, 226, (25, 25, 3)).repeat(20, 0).repeat(20, 1)
    patch = (blocks + rng.normal(0, 8, blocks.shape)).clip(0, 255).astype(np.uint8)
    return np.tile(patch, (height // 500 + 1, width // 500 + 1, 1))[:height, :width].copy()


def say(what, value, target, unit="", most=True):
    met = value <= target if most else value >= target
    bound = "at most" if most else "at least"
    print(f"{what}: {value:.3g}{unit} ({bound} {target:g}: {'met' if met else 'MISSED'})")
