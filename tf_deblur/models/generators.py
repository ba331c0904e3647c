"""The generators as plain steps, from which every engine builds its network; no TensorFlow.

Source: Sang, Gao and Yin 2018, Table 1 (`paper`). `compact` is this project's own: the same
residual block on a U-shape, a fiftieth of the arithmetic.
"""

import dataclasses

from tf_deblur.errors import UserError

# Torch7's default start: uniform in ±1/sqrt(fan-in). With He or Glorot kernels the last
# ReLU of Table 1 goes silent within ten steps and stays so.
TORCH7 = {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}
HE = {"scale": 2.0, "mode": "fan_in", "distribution": "truncated_normal"}
# Memory, in bytes: of each number inside a network; and of each pixel around it, where a picture
# is several times in float32, measured on both presets (benchmarks/results.md has the figures).
NUMBER = {"float32": 4, "bfloat16": 2}
AROUND = {"tensorflow": 60, "openvino": 90, "saved_model": 85}


@dataclasses.dataclass(frozen=True)
class Step:
    """One layer: what it is called, what it does to which others' results.

    Attributes:
      name: of the layer; its weights are NAME/kernel and NAME/bias.
      kind: "Input", "Conv2D" (with zeros round it: height and width stay), "Add",
        "SpaceToDepth" or "DepthToSpace" (channels in row, column, channel order).
      inputs: names of the steps whose results it takes.
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


class Steps(list):
    """Steps in the order in which they run; each method adds what it says, returns its name."""

    def __init__(self):
        self._channels = {}
        self._step("image", "Input", [], 3)

    def conv(self, x, filters, size, *, name, start=HE, scale=1.0, activation="linear", **more):
        if activation not in ("linear", "relu"):
            raise UserError(f"{activation}: no such activation; use linear or relu")
        more["activation"] = activation
        start = start | {"scale": start["scale"] * scale}
        return self._step(name, "Conv2D", [x], filters, size, start=start, **more)

    def add(self, x, y, *, name, **more):
        return self._step(name, "Add", [x, y], self._channels[x], **more)

    def unshuffle(self, x, *, name, size=2):
        return self._step(name, "SpaceToDepth", [x], self._channels[x] * size**2, size)

    def shuffle(self, x, *, name, size=2):
        return self._step(name, "DepthToSpace", [x], self._channels[x] // size**2, size)

    def residual_block(self, x, filters, size, *, name, start=HE, second=1.0):
        """Fig. 1b: no normalisation, and no ReLU after the addition."""
        y = self.conv(x, filters, size, activation="relu", start=start, name=f"{name}_conv0")
        y = self.conv(y, filters, size, start=start, scale=second, name=f"{name}_conv1")
        return self.add(x, y, name=f"{name}_add")

    def _step(self, name, kind, inputs, channels, *rest, **more):
        self._channels[name] = channels
        self.append(Step(name, kind, tuple(inputs), channels, *rest, **more))
        return name


def paper(filters=64, blocks=19, kernel=5, output_activation="relu", initializer="torch7"):
    """Table 1: (n, h, w, 3) in [0, 1] -> the same; width and height never change."""
    start = {"torch7": TORCH7, "he": HE}[initializer]
    steps = Steps()
    x = steps.conv("image", filters, kernel, activation="relu", start=start, name="head")
    for index in range(blocks):
        x = steps.residual_block(x, filters, kernel, start=start, name=f"block{index}")
    # float32 whatever the precision: eight bits of mantissa are too few for a picture
    tail = {"start": start, "activation": output_activation, "exact": True}
    steps.conv(x, 3, kernel, name="tail", **tail)
    return steps


def compact(filters=(32, 64, 128), down=(2, 2), middle=8, up=(2, 2), kernel=3):
    """The residual block on a U-shape: (n, h, w, 3) in [0, 1] -> the same, unclipped.

    Heights and widths are multiples of `size_multiple(steps)`, 8 for three levels.
    It starts near the identity: the blurred image is added at the end, and the last
    convolution, like every block's second, starts small.
    """
    steps = Steps()

    def blocks(x, count, level, name):
        for index in range(count):
            block = f"{name}_block{index}"
            x = steps.residual_block(x, filters[level], kernel, second=0.1, name=block)
        return x

    x = steps.unshuffle("image", name="unshuffle")
    x = steps.conv(x, filters[0], kernel, name="head")
    skips = []
    for level, count in enumerate(down):
        x = blocks(x, count, level, f"down{level}")
        skips.append(x)
        x = steps.unshuffle(x, name=f"down{level}_unshuffle")
        x = steps.conv(x, filters[level + 1], 1, name=f"down{level}")
    x = blocks(x, middle, len(down), "middle")
    for level, count in reversed(list(enumerate(up))):
        x = steps.conv(x, 4 * filters[level], 1, name=f"up{level}")
        x = steps.shuffle(x, name=f"up{level}_shuffle")
        x = steps.add(x, skips[level], name=f"up{level}_skip")
        x = blocks(x, count, level, f"up{level}")
    x = steps.conv(x, 12, kernel, scale=1e-6, name="tail")
    x = steps.shuffle(x, name="shuffle")
    steps.add("image", x, name="restored", exact=True)
    return steps


PRESETS = {"paper": paper, "compact": compact}


def steps(preset, arguments):
    """The steps of a preset with what differs from its own arguments.

    Raises:
      UserError: no such preset, or an argument that it does not take.
    """
    if preset not in PRESETS:
        raise UserError(f"{preset}: no such generator; use one of {', '.join(PRESETS)}")
    try:
        return PRESETS[preset](**arguments)
    except TypeError as error:
        raise UserError(f"{preset}: {error}") from error


def size_multiple(steps):
    """What heights and widths must be multiples of, in pixels."""
    return max(scale for scale, _ in _reach(steps).values())


def receptive_radius(steps):
    """How far a restored pixel sees, in pixels to each side."""
    return _reach(steps)[steps[-1].name][1]


def facts(steps, engine="saved_model", precision="float32"):
    """What whoever runs a generator has to know of it, by name; memory as of one of AROUND."""
    return {
        "size_multiple": size_multiple(steps),
        "radius": receptive_radius(steps),
        "channels": steps[0].channels,
        "pixel_bytes": round(NUMBER[precision] * most_values(steps) + AROUND[engine]),
    }


def shapes(steps):
    """Name -> shape of each of its weights; kernels are (rows, columns, inputs, outputs)."""
    channels, found = {step.name: step.channels for step in steps}, {}
    for step in steps:
        if step.kind == "Conv2D":
            found[f"{step.name}/kernel"] = *[step.size] * 2, channels[step.inputs[0]], step.channels
            found[f"{step.name}/bias"] = (step.channels,)
    return found


def most_values(steps):
    """How many numbers live at once while a network runs, at most, for each pixel of a picture.

    A result lives from its step to the last one that reads it. An addition of a convolution's
    result takes no room: all engines let the convolution add to what is there.
    """
    reach = _reach(steps)
    readers = {step.name: [s.name for s in steps if step.name in s.inputs] for step in steps}
    added = {name for step in steps if step.kind == "Add" for name in step.inputs[1:]}
    live, most = {}, 0.0
    for step in steps:
        if not (step.kind == "Conv2D" and step.name in added):
            live[step.name] = step.channels / reach[step.name][0] ** 2
        if step.kind == "Add":
            live.pop(step.inputs[0])
        most = max(most, sum(live.values()))
        live = {name: count for name, count in live.items() if step.name not in readers[name][-1:]}
    return most


def _reach(steps):
    """Step name -> (scale, reach): cell i depends on pixels i·s − r … i·s + s − 1 + r."""
    reach = {}
    for step in steps:
        if step.kind == "Input":
            reach[step.name] = 1, 0
            continue
        scale = reach[step.inputs[0]][0]
        radius = max(reach[name][1] for name in step.inputs)
        if step.kind == "Conv2D":
            radius += scale * ((step.size - 1) // 2)
        elif step.kind == "SpaceToDepth":
            scale *= step.size
        elif step.kind == "DepthToSpace":  # a cell sees its whole block, from any corner
            scale //= step.size
            radius += scale * (step.size - 1)
        reach[step.name] = scale, radius
    return reach
