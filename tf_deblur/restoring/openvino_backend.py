"""A network of ours on OpenVINO, for processors; it loads no TensorFlow."""

import threading

import numpy as np
import openvino
from openvino import opset13 as ops

from tf_deblur import devices
from tf_deblur.models import generators, weights
from tf_deblur.restoring import engine

HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVINOEngine(engine.Engine):
    """Weights of ours: a preset, a training's working directory, a `.safetensors` file."""

    def __init__(self, name, precision):
        precision, why = devices.choose_processor_precision(precision)
        steps, tensors = weights.read(name)
        told = generators.list_facts(steps, "openvino", precision)
        facts = engine.make_facts(told, weights_sha256=weights.hash_file(name))
        device = f"{devices.name_processor()}, OpenVINO"
        super().__init__(facts, precision, why, device)
        network = build(steps, tensors)
        self._network = openvino.Core().compile_model(network, "CPU", make_settings(precision))
        self._one_at_a_time = threading.Lock()  # it refuses a second one, and uses all cores

    def run(self, batch: np.ndarray) -> np.ndarray:
        with self._one_at_a_time:
            return self._network([batch])[0]


def make_settings(precision: str) -> dict:
    """How a network is compiled that runs on all cores, one picture at a time."""
    return {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": devices.count_cores(),
        "PERFORMANCE_HINT": "LATENCY",
    }


def build(steps: list, tensors: dict) -> openvino.Model:
    """The steps as an `openvino.Model`: (n, h, w, 3) float32 to the same.

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
            made[step.name] = convolve(inputs[0], step, kernel, bias)
        elif step.kind == "Add":
            made[step.name] = ops.add(*inputs)
        else:
            move = {"SpaceToDepth": ops.space_to_depth, "DepthToSpace": ops.depth_to_space}
            made[step.name] = move[step.kind](*inputs, "blocks_first", step.size)
    return openvino.Model([ops.transpose(made[step.name], [0, 2, 3, 1])], [image], "network")


def convolve(
    x: openvino.Node, step: generators.Layer, kernel: np.ndarray, bias: np.ndarray
) -> openvino.Node:
    kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    before, after = [(step.size - 1) // 2] * 2, [step.size // 2] * 2
    x = ops.convolution(x, kernel, [1, 1], before, after, [1, 1])
    x = ops.add(x, bias[:, None, None])
    return ops.relu(x) if step.activation == "relu" else x
