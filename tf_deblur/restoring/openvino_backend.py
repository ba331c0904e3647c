"""A network of ours on OpenVINO, for processors; it loads no TensorFlow.

In int8 a convolution's kernel and what it reads are of eight bits, but for the first and the
last one, which read and write the picture itself; all between convolutions stays floats.
"""

import threading

import numpy as np
import openvino
from openvino import opset13 as ops

from tf_deblur import devices
from tf_deblur.errors import UserError
from tf_deblur.models import generators, weights
from tf_deblur.pictures import arrays, photographs
from tf_deblur.restoring import engine

HINTS = {"float32": "f32", "bfloat16": "bf16"}
CALIBRATION = weights.PACKAGED / "calibration.jpg"  # squares of photographs, one below the other


class OpenVINOEngine(engine.Engine):
    """Weights of ours: a preset, a training's working directory, a `.safetensors` file."""

    def __init__(self, name, precision):
        if precision == "int8" and not devices.find_unit(devices.INT8_UNITS):
            raise UserError(
                "--precision=int8: this processor has no unit for it (VNNI, AMX); use float32"
            )
        precision, why = devices.choose_processor_precision(precision)
        steps, tensors = weights.read(name)
        told = generators.list_facts(steps, "openvino", precision)
        facts = engine.make_facts(told, weights_sha256=weights.hash_file(name))
        device = f"{devices.name_processor()}, OpenVINO"
        super().__init__(facts, precision, why, device)
        ranges = measure_ranges(steps, tensors) if precision == "int8" else {}
        network = build(steps, tensors, ranges)
        self._network = openvino.Core().compile_model(network, "CPU", make_settings(precision))
        self._one_at_a_time = threading.Lock()  # it refuses a second one, and uses all cores

    def run(self, batch: np.ndarray) -> np.ndarray:
        with self._one_at_a_time:
            return self._network([batch])[0]


def make_settings(precision: str) -> dict:
    """How a network is compiled that runs on all cores, one picture at a time."""
    floats = devices.choose_processor_precision()[0] if precision == "int8" else precision
    return {
        "INFERENCE_PRECISION_HINT": HINTS[floats],
        "INFERENCE_NUM_THREADS": devices.count_cores(),
        "PERFORMANCE_HINT": "LATENCY",
    }


def measure_ranges(steps: list, tensors: dict) -> dict[str, tuple[float, float]]:
    """Convolution -> the least and the most that it reads of photographs; 0 lies between."""
    squares = arrays.to_float(photographs.read(CALIBRATION))
    squares = squares.reshape(-1, squares.shape[1], *squares.shape[1:])
    image, made = connect(steps, tensors)
    convolutions = [step for step in steps if step.kind == "Conv2D"][1:-1]
    read = [made[step.inputs[0]] for step in convolutions]
    axes = [0, 1, 2, 3]
    ends = [node for x in read for node in (ops.reduce_min(x, axes), ops.reduce_max(x, axes))]
    network = openvino.Model(ends, [image], "ranges")
    found = openvino.Core().compile_model(network, "CPU", make_settings("float32"))([squares])
    told = [float(found[number]) for number in range(len(ends))]
    pairs = ((min(low, 0), max(high, 0)) for low, high in zip(told[::2], told[1::2]))
    return dict(zip((step.name for step in convolutions), pairs))


def build(steps: list, tensors: dict, ranges: dict | None = None) -> openvino.Model:
    """The steps as an `openvino.Model`: (n, h, w, 3) float32 to the same.

    Args:
      steps, tensors: as of `weights.read`.
      ranges: of `measure_ranges`, for the convolutions that are to be in int8.
    """
    image, made = connect(steps, tensors, ranges)
    return openvino.Model([ops.transpose(made[steps[-1].name], [0, 2, 3, 1])], [image], "network")


def connect(
    steps: list, tensors: dict, ranges: dict | None = None
) -> tuple[openvino.Node, dict[str, openvino.Node]]:
    """The picture, and step -> its result in (n, channels, h, w).

    OpenVINO's convolutions take channels before rows; with the two changes of axes at the
    ends it moves nothing, for inside it keeps channels last.
    """
    image = ops.parameter([-1, -1, -1, steps[0].channels], np.float32, "image")
    made: dict[str, openvino.Node] = {}
    for step in steps:
        inputs = [made[name] for name in step.inputs]
        if step.kind == "Input":
            made[step.name] = ops.transpose(image, [0, 3, 1, 2])
        elif step.kind == "Conv2D":
            kernel, bias = (tensors[f"{step.name}/{name}"] for name in ("kernel", "bias"))
            its = (ranges or {}).get(step.name)
            made[step.name] = convolve(inputs[0], step, kernel, bias, its)
        elif step.kind == "Add":
            made[step.name] = ops.add(*inputs)
        else:
            move = {"SpaceToDepth": ops.space_to_depth, "DepthToSpace": ops.depth_to_space}
            made[step.name] = move[step.kind](*inputs, "blocks_first", step.size)
    return image, made


def convolve(
    x: openvino.Node,
    step: generators.Layer,
    kernel: np.ndarray,
    bias: np.ndarray,
    its: tuple[float, float] | None = None,
) -> openvino.Node:
    """A convolution with its bias and ReLU; in int8 where the range of what it reads is given."""
    kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    if its:
        low, high = its
        step_size = max(high - low, 1e-6) / 255
        zero = np.rint(-low / step_size)  # 0 is a number of the 256, for it is what lies around
        x = quantise(x, -zero * step_size, (255 - zero) * step_size, 256)
        most = np.maximum(np.abs(kernel).max((1, 2, 3), keepdims=True), 1e-12)
        kernel = quantise(ops.constant(kernel), -most, most, 255)
    before, after = [(step.size - 1) // 2] * 2, [step.size // 2] * 2
    x = ops.convolution(x, kernel, [1, 1], before, after, [1, 1])
    x = ops.add(x, bias[:, None, None])
    return ops.relu(x) if step.activation == "relu" else x


def quantise(x: openvino.Node, low: np.ndarray, high: np.ndarray, levels: int) -> openvino.Node:
    """What OpenVINO makes integers of: rounded to so many numbers from low to high."""
    ends = [np.asarray(end, np.float32).reshape(-1, 1, 1, 1) for end in (low, high)]
    return ops.fake_quantize(x, *ends, *ends, levels)
