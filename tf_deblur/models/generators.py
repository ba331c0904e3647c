"""The generators as plain layers, from which every engine builds its network; no TensorFlow.

Source: Sang, Gao and Yin 2018, Table 1 (`paper`). `compact` is this project's own: the same
residual block on a U-shape, a fiftieth of the arithmetic.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

from tf_deblur.errors import UserError

# Torch7's default start: uniform in ±1/sqrt(fan-in). With He or Glorot kernels the last
# ReLU of Table 1 goes silent within ten steps and stays so.
TORCH7 = {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}
HE = {"scale": 2.0, "mode": "fan_in", "distribution": "truncated_normal"}
INITIALIZERS = {"torch7": TORCH7, "he": HE}
ACTIVATIONS = ("relu", "linear")
# Memory, in bytes: of each number inside a network; and of each pixel around it, where a picture
# is several times in float32, measured on both presets (benchmarks/results.md has the figures).
NUMBER = {"float32": 4, "bfloat16": 2, "int8": 3.4}
AROUND = {"tensorflow": 60, "openvino": 90, "saved_model": 85}


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer: what it is called, what it does to which others' results.

    Attributes:
      name: of the layer; its weights are NAME/kernel and NAME/bias.
      kind: "Input", "Conv2D" (with zeros round it: height and width stay), "Add",
        "SpaceToDepth" or "DepthToSpace" (channels in row, column, channel order).
      inputs: names of the layers whose results it takes.
      channels: of its result.
      size: the kernel's side, or the block's.
      activation: "relu" or "linear", of a convolution.
      start: how a kernel starts, as Keras's VarianceScaling takes it.
      exact: whether it is float32 whatever the precision.
    """

    name: str
    kind: str
    inputs: tuple
    channels: int
    size: int = 1
    activation: str = "linear"
    start: dict | None = None
    exact: bool = False


class Layers(list):
    """Layers in the order in which they run; each method adds what it says, returns its name."""

    def __init__(self):
        self._channels = {}
        self._append("image", "Input", [], 3)

    def conv(
        self,
        x: str,
        filters: int,
        size: int,
        *,
        name: str,
        start: dict = HE,
        scale: float = 1.0,
        activation: str = "linear",
        exact: bool = False,
    ) -> str:
        if activation not in ACTIVATIONS:
            raise UserError(f"{activation}: no such activation; use {' or '.join(ACTIVATIONS)}")
        start = start | {"scale": start["scale"] * scale}
        return self._append(name, "Conv2D", [x], filters, size, activation, start, exact)

    def add(self, x: str, y: str, *, name: str, exact: bool = False) -> str:
        return self._append(name, "Add", [x, y], self._channels[x], exact=exact)

    def unshuffle(self, x: str, *, name: str, size: int = 2) -> str:
        return self._append(name, "SpaceToDepth", [x], self._channels[x] * size**2, size)

    def shuffle(self, x: str, *, name: str, size: int = 2) -> str:
        return self._append(name, "DepthToSpace", [x], self._channels[x] // size**2, size)

    def residual_block(
        self, x: str, filters: int, size: int, *, name: str, start: dict = HE, second: float = 1.0
    ) -> str:
        """Fig. 1b: no normalisation, and no ReLU after the addition."""
        y = self.conv(x, filters, size, activation="relu", start=start, name=f"{name}_conv0")
        y = self.conv(y, filters, size, start=start, scale=second, name=f"{name}_conv1")
        return self.add(x, y, name=f"{name}_add")

    def _append(self, name, kind, inputs, channels, *rest, **more):
        self._channels[name] = channels
        self.append(Layer(name, kind, tuple(inputs), channels, *rest, **more))
        return name


def paper(
    filters: int = 64,
    blocks: int = 19,
    kernel: int = 5,
    output_activation: str = "relu",
    initializer: str = "torch7",
) -> Layers:
    """Table 1: (n, h, w, 3) in [0, 1] -> the same; width and height never change."""
    start = INITIALIZERS[initializer]
    layers = Layers()
    x = layers.conv("image", filters, kernel, activation="relu", start=start, name="head")
    for index in range(blocks):
        x = layers.residual_block(x, filters, kernel, start=start, name=f"block{index}")
    # float32 whatever the precision: eight bits of mantissa are too few for a picture
    end = output_activation
    layers.conv(x, 3, kernel, activation=end, start=start, exact=True, name="tail")
    return layers


def compact(
    filters: Sequence[int] = (32, 64, 128),
    down: Sequence[int] = (2, 2),
    middle: int = 8,
    up: Sequence[int] = (2, 2),
    kernel: int = 3,
) -> Layers:
    """The residual block on a U-shape: (n, h, w, 3) in [0, 1] -> the same, unclipped.

    Heights and widths are multiples of `compute_size_multiple(layers)`, 8 for three levels.
    It starts near the identity: the blurred image is added at the end, and the last
    convolution, like every block's second, starts small.
    """
    layers = Layers()

    def blocks(x, count, level, name):
        for index in range(count):
            block = f"{name}_block{index}"
            x = layers.residual_block(x, filters[level], kernel, second=0.1, name=block)
        return x

    x = layers.unshuffle("image", name="unshuffle")
    x = layers.conv(x, filters[0], kernel, name="head")
    skips = []
    for level, count in enumerate(down):
        x = blocks(x, count, level, f"down{level}")
        skips.append(x)
        x = layers.unshuffle(x, name=f"down{level}_unshuffle")
        x = layers.conv(x, filters[level + 1], 1, name=f"down{level}")
    x = blocks(x, middle, len(down), "middle")
    for level, count in reversed(list(enumerate(up))):
        x = layers.conv(x, 4 * filters[level], 1, name=f"up{level}")
        x = layers.shuffle(x, name=f"up{level}_shuffle")
        x = layers.add(x, skips[level], name=f"up{level}_skip")
        x = blocks(x, count, level, f"up{level}")
    x = layers.conv(x, 12, kernel, scale=1e-6, name="tail")
    x = layers.shuffle(x, name="shuffle")
    layers.add("image", x, name="restored", exact=True)
    return layers


PRESETS: dict[str, Callable[..., Layers]] = {"paper": paper, "compact": compact}


def list_layers(preset: str, arguments: dict) -> Layers:
    """The layers of a preset with what differs from its own arguments.

    Raises:
      UserError: no such preset, or an argument that it does not take.
    """
    if preset not in PRESETS:
        raise UserError(f"{preset}: no such generator; use one of {', '.join(PRESETS)}")
    try:
        return PRESETS[preset](**arguments)
    except TypeError as error:
        raise UserError(f"{preset}: {error}") from error


def compute_size_multiple(layers: Layers) -> int:
    """What heights and widths must be multiples of, in pixels."""
    return max(scale for scale, _ in _reach(layers).values())


def compute_radius(layers: Layers) -> int:
    """How far a restored pixel sees, in pixels to each side."""
    return _reach(layers)[layers[-1].name][1]


def list_facts(layers: Layers, engine: str = "saved_model", precision: str = "float32") -> dict:
    """What whoever runs a generator has to know of it, by name; memory as of one of AROUND."""
    return {
        "size_multiple": compute_size_multiple(layers),
        "radius": compute_radius(layers),
        "channels": layers[0].channels,
        "pixel_bytes": round(NUMBER[precision] * count_values(layers) + AROUND[engine]),
        "parameters": sum(map(math.prod, list_shapes(layers).values())),
        "multiply_adds": count_multiply_adds(layers),
    }


def count_multiply_adds(layers: Layers) -> float:
    """Of all convolutions, for each pixel of a picture; a pair as one."""
    shapes, reach = list_shapes(layers), _reach(layers)
    convolutions = [layer.name for layer in layers if layer.kind == "Conv2D"]
    return sum(math.prod(shapes[f"{name}/kernel"]) / reach[name][0] ** 2 for name in convolutions)


def list_shapes(layers: Layers) -> dict[str, tuple]:
    """Name -> shape of each of its weights; kernels are (rows, columns, inputs, outputs)."""
    channels, found = {layer.name: layer.channels for layer in layers}, {}
    for layer in layers:
        if layer.kind == "Conv2D":
            found[f"{layer.name}/kernel"] = (
                *[layer.size] * 2,
                channels[layer.inputs[0]],
                layer.channels,
            )
            found[f"{layer.name}/bias"] = (layer.channels,)
    return found


def count_values(layers: Layers) -> float:
    """How many numbers live at once while a network runs, at most, for each pixel of a picture.

    A result lives from its layer to the last one that reads it. An addition of a convolution's
    result takes no room: all engines let the convolution add to what is there.
    """
    reach = _reach(layers)
    readers = {layer.name: [s.name for s in layers if layer.name in s.inputs] for layer in layers}
    added = {name for layer in layers if layer.kind == "Add" for name in layer.inputs[1:]}
    live, most = {}, 0.0
    for layer in layers:
        if not (layer.kind == "Conv2D" and layer.name in added):
            live[layer.name] = layer.channels / reach[layer.name][0] ** 2
        if layer.kind == "Add":
            live.pop(layer.inputs[0])
        most = max(most, sum(live.values()))
        live = {name: count for name, count in live.items() if layer.name not in readers[name][-1:]}
    return most


def _reach(layers):
    """Layer name -> (scale, reach): cell i depends on pixels i·s − r … i·s + s − 1 + r."""
    reach = {}
    for layer in layers:
        if layer.kind == "Input":
            reach[layer.name] = 1, 0
            continue
        scale = reach[layer.inputs[0]][0]
        radius = max(reach[name][1] for name in layer.inputs)
        if layer.kind == "Conv2D":
            radius += scale * ((layer.size - 1) // 2)
        elif layer.kind == "SpaceToDepth":
            scale *= layer.size
        elif layer.kind == "DepthToSpace":  # a cell sees its whole block, from any corner
            scale //= layer.size
            radius += scale * (layer.size - 1)
        reach[layer.name] = scale, radius
    return reach
