"""A graph of TensorFlow's that others made: of a SavedModel, a `.keras` file, TensorFlow.js.

A session runs it as it is. TensorFlow's own rewriting of a graph of thousands of small steps takes
longer than what it saves, and is left off.
"""

import math
import typing

import tensorflow as tf

from tf_deblur import devices, errors
from tf_deblur.restoring import describing, engine, foreign, reach

GraphDef: typing.TypeAlias = tf.compat.v1.GraphDef
WINDOWS = {
    "Conv2D",
    "_FusedConv2D",
    "DepthwiseConv2dNative",
    "Conv2DBackpropInput",
    "MaxPool",
    "AvgPool",
}


class GraphEngine(foreign.ForeignEngine):
    """What a backend makes of a file: a graph, and the names of what goes in and comes out.

    Args:
      name: what the user called it.
      precision: as of `tf_deblur.load`.
      graph: GraphDef, with constants alone.
      images, outputs: as `describing.choose_output` takes them, names of tensors.
      told: of `describing.read_told`, beside what the file says itself.
    """

    ran_out = tf.errors.ResourceExhaustedError

    def __init__(self, name, precision, graph, images, outputs, told):
        restored = describing.choose_output(name, images, outputs, told)
        [image], (precision, why) = images, devices.choose_precision(precision)
        try:
            with errors.quiet(), tf.Graph().as_default() as made:
                tf.import_graph_def(graph, name="")
                session = tf.compat.v1.Session(config=_configure(precision))
        except (ValueError, tf.errors.OpError) as error:  # of an op that it does not know
            engine.refuse(name, error, "no graph that TensorFlow runs")
        placeholder = made.get_tensor_by_name(image)

        def run(given):
            return session.run(restored, {placeholder: given})

        rank = placeholder.shape.rank
        shape = tuple(placeholder.shape) if rank else ()
        network = foreign.Network(run, shape, placeholder.dtype.name)
        network.parameters = sum(
            math.prod(dim.size for dim in node.attr["value"].tensor.tensor_shape.dim)
            for node in graph.node
            if node.op == "Const" and tf.dtypes.as_dtype(node.attr["dtype"].type).is_floating
        )
        network.ops = lambda size: (list_ops(made.as_graph_def(), image, size), image, restored)
        super().__init__(name, network, told, precision, why)


def _configure(precision):
    """Of a session: without rewriting, but for what bfloat16 takes on a processor."""
    config = tf.compat.v1.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    if precision == "bfloat16":
        rewriting.auto_mixed_precision_onednn_bfloat16 = rewriting.ON
    else:
        rewriting.disable_meta_optimizer = True
    config.gpu_options.allow_growth = True
    return config


def freeze(
    function: tf.types.experimental.ConcreteFunction,
) -> tuple[GraphDef, list[str], list[str]]:
    """(graph, what goes in, what comes out) of a function, its variables made constants."""
    from tensorflow.python.framework import convert_to_constants

    frozen = convert_to_constants.convert_variables_to_constants_v2(function)
    taken, given = ([tensor.name for tensor in ends] for ends in (frozen.inputs, frozen.outputs))
    return frozen.graph.as_graph_def(), taken, given


def list_ops(graph: GraphDef, image: str, size: tuple[int, int] | None) -> list[reach.Op]:
    """The graph's operations, with shapes as they are for a picture of (height, width)."""
    for node in graph.node:
        if size and f"{node.name}:0" == image:
            dims = node.attr["shape"].shape.dim
            wide = (1, *size, 3) if dims[-1].size == 3 else (1, 3, *size)
            for dim, length in zip(dims, wide):
                dim.size = length
    with tf.Graph().as_default() as made:
        tf.import_graph_def(graph, name="")
    return [_describe(op) for op in made.get_operations()]


def _describe(op):
    tensors = (*op.inputs, *op.outputs)
    ends = [tuple(tensor.name for tensor in them) for them in (op.inputs, op.outputs)]
    shapes = tuple(tuple(t.shape) if t.shape.rank is not None else None for t in tensors)
    names = {it.name for it in op.op_def.attr}
    get = {name: op.get_attr(name) for name in names & {"strides", "dilations", "ksize", "padding"}}
    more: dict = {"channels": (3, -1)}
    if "is_training" in names and op.get_attr("is_training"):  # by the whole picture's mean
        return reach.Op("Normalise", *ends, shapes, more, tensorflow=True)
    if op.type in WINDOWS:
        kernel = get["ksize"][1:3] if "ksize" in get else shapes[1][:2] if shapes[1] else None
        pads = {b"SAME": "SAME", b"VALID": (0, 0, 0, 0)}.get(get["padding"])
        if kernel and pads and op.get_attr("data_format") == b"NHWC":
            dilation = get.get("dilations", (1, 1, 1, 1))[1:3]
            more |= {"size": kernel, "stride": get["strides"][1:3], "dilation": dilation}
            more["pads"] = pads
    if "block_size" in names:
        more["block"] = op.get_attr("block_size")
    if op.type == "ConcatV2":
        axis = tf.get_static_value(op.inputs[-1])
        more["axis"] = None if axis is None else int(axis)
    if op.type in ("Pad", "PadV2", "MirrorPad"):
        pads = tf.get_static_value(op.inputs[1])
        more["pads"] = None if pads is None else tuple(int(n) for n in pads[1:3, 0])
    if op.type == "Einsum":
        more["equation"] = op.get_attr("equation").decode()
    if "transpose_a" in names or "adj_x" in names:
        more["transposed"] = op.get_attr("transpose_a" if "transpose_a" in names else "adj_x")
    if op.type in ("ResizeBilinear", "ResizeNearestNeighbor") and None not in (
        shapes[0],
        shapes[-1],
    ):
        before, after = shapes[0][1:3], shapes[-1][1:3]
        if None not in (*before, *after):
            more["scales"] = [a / b for a, b in zip(after, before)]
            more["mode"] = "linear" if op.type == "ResizeBilinear" else "nearest"
    return reach.Op(op.type, *ends, shapes, more, tensorflow=True)
