"""How far a pixel of a network sees, and what the network multiplies: both read from its graph.

A backend lists its graph's operations as `Op`s, in the order in which they run; the names of
ONNX's operations and of TensorFlow's are both known here.
"""

import dataclasses
import math
import re
from collections.abc import Iterable
from fractions import Fraction

POINTWISE = """
Abs Add AddN AddV2 BatchNormalization BiasAdd Cast Clip ClipByValue Div Elu Erf Exp FusedBatchNorm
FusedBatchNormV3 Gelu HardSigmoid HardSwish Identity LeakyRelu Log Max Maximum Min Minimum Mish Mul
Neg PRelu Pow RealDiv Reciprocal Relu Relu6 Rsqrt Selu Sigmoid Sign Softplus Sqrt Square
SquaredDifference Sub Sum Tanh
""".split()  # Max, Min and Sum are ONNX's, of several inputs; TensorFlow's reduce
REDUCES = {"Max", "Min", "Sum"}  # in TensorFlow
MULTIPLY = """
Conv Conv2D _FusedConv2D DepthwiseConv2dNative ConvTranspose Conv2DBackpropInput MatMul
BatchMatMul BatchMatMulV2 Gemm Einsum
""".split()
UNCOUNTED = """
ConvInteger QLinearConv MatMulInteger QLinearMatMul Attention FusedConv If StatelessIf Loop Scan
While StatelessWhile PartitionedCall StatefulPartitionedCall
""".split()  # they multiply too
LINEAR, CUBIC = 1, 2  # cells beyond the nearest one that a resized pixel sees


@dataclasses.dataclass(frozen=True)
class Op:
    """An operation of a graph.

    Attributes:
      kind: its name in ONNX or TensorFlow.
      inputs, outputs: names of what goes in and comes out.
      shapes: of the inputs, then of the outputs, as far as they are known; None for others.
      more: sides of its window (`size`) and steps (`stride`, `dilation`), each (down, across);
        what is added round it (`pads`: top, left, bottom, right, or "SAME"); `block`, `order`,
        `axis`, `mode`, `equation`.
      tensorflow: whether the name is TensorFlow's.
    """

    kind: str
    inputs: tuple
    outputs: tuple
    shapes: tuple = ()
    more: dict = dataclasses.field(default_factory=dict)
    tensorflow: bool = False


@dataclasses.dataclass(frozen=True)
class _Cells:
    """Cell i of a result depends on pixels i·scale − low … i·scale + scale − 1 + high."""

    scale: Fraction
    low: Fraction
    high: Fraction


def measure(ops: Iterable[Op], image: str, restored: str) -> tuple[int, int] | None:
    """(radius, size multiple) of a network of convolutions; None where it may see everything.

    Args:
      ops: of its graph.
      image, restored: names of what goes in and comes out.
    """
    cells: dict[str, tuple] = {image: (_Cells(Fraction(1), Fraction(0), Fraction(0)),) * 2}
    multiple = 1
    for op in ops:
        inputs = op.inputs[1:] if op.kind == "Conv2DBackpropInput" else op.inputs  # first its size
        seen = [cells[name] for name in inputs if name in cells]
        if not seen:  # weights
            continue
        made = [_look(op, [axes[axis] for axes in seen], axis) for axis in (0, 1)]
        if _is_of_a_place(op, [name in cells for name in inputs]):
            made = [None, None]
        for name in op.outputs:
            cells[name] = tuple(made)
        multiple = math.lcm(multiple, *(axis.scale.numerator for axis in made if axis))
    ends = cells.get(restored, (None, None))
    if not all(end and end.scale == 1 for end in ends):
        return None
    return math.ceil(max(0, *(max(end.low, end.high) for end in ends))), multiple


def _is_of_a_place(op, seen):
    """Whether it goes pixel by pixel with weights that differ from place to place."""
    if op.kind not in POINTWISE or op.kind == "BatchNormalization":
        return False
    rows = slice(-3, -1) if op.tensorflow else slice(-2, None)
    weights = [shape for shape, from_image in zip(op.shapes, seen) if not from_image]
    return any(side != 1 for shape in weights if shape for side in shape[rows])


def _look(op, seen, axis):
    """The `_Cells` along an axis of what an operation makes; None where it sees everything."""
    if None in seen or len({cells.scale for cells in seen}) > 1:
        return None
    scale, more = seen[0].scale, op.more
    low, high = max(cells.low for cells in seen), max(cells.high for cells in seen)
    if op.kind in POINTWISE and not (op.tensorflow and op.kind in REDUCES):
        return _Cells(scale, low, high)
    if op.kind in ("Concat", "ConcatV2"):
        return _Cells(scale, low, high) if more.get("axis") in more["channels"] else None
    if op.kind in ("Pad", "PadV2", "MirrorPad"):
        pads = more.get("pads")
        if not pads:
            return None
        return _Cells(scale, low + pads[axis] * scale, high - pads[axis] * scale)
    if op.kind == "SpaceToDepth":
        return _Cells(scale * more["block"], low, high)
    if op.kind in ("DepthToSpace", "Resize", "Upsample", "ResizeNearestNeighbor", "ResizeBilinear"):
        return _enlarge(_Cells(scale, low, high), more, axis)
    if "size" not in more:
        return None
    step, size = more["stride"][axis], (more["size"][axis] - 1) * more["dilation"][axis] + 1
    pads = more["pads"]
    before = max(size - step, 0) // 2 if pads == "SAME" else pads[axis]
    if op.kind in ("ConvTranspose", "Conv2DBackpropInput"):
        small = scale / step
        top, bottom = (size - 1 - before) * small, (before + step - 1) * small
        return _Cells(small, low + top, high + bottom)
    after = (size - before - step) * scale
    return _Cells(scale * step, low + before * scale, high + after)


def _enlarge(cells, more, axis):
    block = more.get("block") or (more.get("scales") or (0, 0))[axis]
    if not block or block < 1 or block != int(block):
        return None
    small = cells.scale / int(block)
    beyond = {"linear": LINEAR, "cubic": CUBIC}.get(more.get("mode", "nearest"), 0) * cells.scale
    inside = cells.scale - small  # a cell sees its whole block, from any corner
    return _Cells(small, cells.low + inside + beyond, cells.high + inside + beyond)


def count(ops: Iterable[Op]) -> float | None:
    """Multiplications and additions, a pair as one; None where they cannot be known.

    Convolutions, products of matrices and sums of products by Einstein's convention alone.
    """
    counts = [_count(op) for op in ops if op.kind in MULTIPLY + UNCOUNTED]
    return None if None in counts else sum(counts)


def _count(op):
    if op.kind in UNCOUNTED or len(op.shapes) < 3:
        return None
    shapes = [shape if shape is not None and None not in shape else None for shape in op.shapes]
    if None in (shapes[0], shapes[1], shapes[-1]):
        return None
    first, second, made = shapes[0], shapes[1], shapes[-1]
    if op.kind in ("Conv", "Conv2D", "_FusedConv2D", "DepthwiseConv2dNative"):
        if op.tensorflow:  # (rows, columns, inputs of a group, outputs), or 1 of each input
            each = math.prod(second[:2]) * (1 if op.kind.startswith("Depth") else second[2])
        else:
            each = math.prod(second[1:])
        return math.prod(made) * each
    if op.kind == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    if op.kind == "Conv2DBackpropInput":  # (size, kernel, picture)
        return math.prod(shapes[2]) * math.prod(second[:3]) if shapes[2] else None
    if op.kind != "Einsum":
        return math.prod(made) * first[-2 if op.more.get("transposed") else -1]
    terms = re.sub(r"->.*|\s", "", op.more["equation"]).split(",")
    sides: dict[str, int] = {}
    for term, shape in zip(terms, shapes):
        free = len(shape) - len(term.replace("...", ""))
        sides |= dict(zip(term.replace("...", "0123456789"[:free]), shape))
    return math.prod(sides.values())
