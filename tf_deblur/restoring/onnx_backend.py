"""An ONNX file that others made, on OpenVINO or, where that is not installed, ONNX Runtime."""

import contextlib
import json
import math
import os
import pathlib
import threading

from tf_deblur import devices, errors
from tf_deblur.errors import UserError
from tf_deblur.restoring import describing, engine, foreign, reach

# OpenVINO's and ONNX Runtime's -> NumPy's, where they differ.
TYPES = {"float": "float32", "double": "float64", "boolean": "bool"}
TYPES |= {
    f"{short}{bits}": f"{long}{bits}"
    for short, long in (("f", "float"), ("i", "int"), ("u", "uint"))
    for bits in (8, 16, 32, 64)
}


class ONNXEngine(foreign.ForeignEngine):
    """FILE.onnx; `model_facts` as `describing.read_told` takes them."""

    def __init__(self, name, precision, model_facts=None):
        path, told = pathlib.Path(name), describing.read_told(name, model_facts)
        graph = _read_graph(path)
        if graph:
            told = _read_told(graph) | told
        network, runtime, *how = _open(path, told, *devices.choose_processor_precision(precision))
        if graph:
            network.parameters = sum(math.prod(it.dims) for it in graph.graph.initializer)
            network.ops = lambda size: _list_ops(graph, size, told.get("output"))
        super().__init__(name, network, told, *how, f"{devices.name_processor()}, {runtime}")


def _open(path, told, precision, why):
    """(Network, what runs it, precision, why) by the first that is installed and opens it."""
    problem = None
    for open_by in (_open_by_openvino, _open_by_onnxruntime):
        try:
            with errors.quiet():
                return open_by(path, told, precision, why)
        except ModuleNotFoundError:
            pass
        except UserError:
            raise
        except Exception as error:  # each library has its own, and no family of them
            problem = error
    if problem:
        engine.refuse(path, problem, "no ONNX file that runs")
    raise UserError(f"{path}: wants OpenVINO or ONNX Runtime; pip install 'tf-deblur[onnx]'")


def _open_by_openvino(path, told, precision, why):
    import openvino

    from tf_deblur.restoring.openvino_backend import make_settings

    model = openvino.Core().read_model(path)
    names = {port.get_any_name(): number for number, port in enumerate(model.outputs)}
    output = describing.choose_output(path, [it.get_any_name() for it in model.inputs], names, told)
    network = openvino.Core().compile_model(model, "CPU", make_settings(precision))
    one_at_a_time = threading.Lock()  # it refuses a second one, and uses all cores

    def run(given):
        with one_at_a_time:
            return network([given])[output]

    [image] = model.inputs
    sides = image.partial_shape if image.partial_shape.rank.is_static else ()
    shape = tuple(None if side.is_dynamic else side.get_length() for side in sides)
    kind = image.element_type.get_type_name()
    return foreign.Network(run, shape, TYPES.get(kind, kind)), "OpenVINO", precision, why


def _open_by_onnxruntime(path, told, precision, why):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = devices.count_cores()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    taken, given = (
        [it.name for it in ends] for ends in (session.get_inputs(), session.get_outputs())
    )
    output = describing.choose_output(path, taken, dict(zip(given, given)), told)
    [image] = session.get_inputs()
    shape = tuple(side if isinstance(side, int) else None for side in image.shape)
    kind = image.type.removeprefix("tensor(").removesuffix(")")

    def run(given):
        return session.run([output], {image.name: given})[0]

    network = foreign.Network(run, shape, TYPES.get(kind, kind))
    return network, "ONNX Runtime", "float32", "its only one"


def _read_graph(path):
    """The file by onnx's own package; None without it, and UserError where it is no ONNX file."""
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    try:
        graph = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(graph if not _has_external_data(graph) else os.fspath(path))
    except Exception as error:
        engine.refuse(path, error, "no whole ONNX file")
    return graph


def _has_external_data(graph):
    return any(it.data_location for it in graph.graph.initializer)


def _read_told(graph):
    """What the file's metadata say by `describing.KEYS`; others use such words for other things."""
    told = {}
    for it in graph.metadata_props:
        with contextlib.suppress(ValueError, RecursionError):
            told[it.key] = json.loads(it.value)
    return {
        key: value
        for key, value in told.items()
        if key in describing.KEYS and describing.KEYS[key](value)
    }


def _list_ops(graph, size, output):
    """As `foreign.Network` has it."""
    import onnx

    known = {it.name for it in graph.graph.initializer}
    [image] = [it for it in graph.graph.input if it.name not in known]
    if size:
        copy = onnx.ModelProto()
        copy.CopyFrom(graph)
        [sides] = [
            it.type.tensor_type.shape.dim for it in copy.graph.input if it.name == image.name
        ]
        full = (1, *size, 3) if sides[-1].dim_value == 3 else (1, 3, *size)
        for side, length in zip(sides, full):
            side.dim_value = length
        for it in copy.graph.output:
            it.type.tensor_type.ClearField("shape")
        graph = onnx.shape_inference.infer_shapes(copy, data_prop=True)
    shapes = {it.name: tuple(it.dims) for it in graph.graph.initializer}
    constants = {it.name: it for it in graph.graph.initializer}
    for it in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        sides = it.type.tensor_type.shape.dim
        shapes[it.name] = tuple(side.dim_value or None for side in sides)
    for node in graph.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
            shapes[node.output[0]] = tuple(node.attribute[0].t.dims)
    ops = [_describe(node, shapes, constants) for node in graph.graph.node]
    return ops, image.name, output or graph.graph.output[0].name


def _describe(node, shapes, constants):
    import onnx

    said = {it.name: onnx.helper.get_attribute_value(it) for it in node.attribute}
    said = {key: it.decode() if isinstance(it, bytes) else it for key, it in said.items()}

    def constant(index):
        name = node.input[index] if index < len(node.input) else None
        return onnx.numpy_helper.to_array(constants[name]).tolist() if name in constants else None

    more = {"channels": (1,), **{k: said[k] for k in ("axis", "equation") if k in said}}
    if node.op_type in ("Conv", "ConvTranspose", "MaxPool", "AveragePool"):
        kernel = shapes.get(node.input[1]) if "Conv" in node.op_type else None
        size = said.get("kernel_shape") or (kernel and kernel[2:])
        same = said.get("auto_pad", "NOTSET") == "SAME_UPPER"
        if size and len(size) == 2 and said.get("auto_pad", "NOTSET") in ("NOTSET", "SAME_UPPER"):
            more |= {
                "size": size,
                "stride": said.get("strides", (1, 1)),
                "dilation": said.get("dilations", (1, 1)),
                "pads": "SAME" if same else said.get("pads", (0, 0, 0, 0)),
            }
    if node.op_type == "Pad":
        pads = said.get("pads") or constant(1)
        whole = said.get("mode") == "wrap"  # sees the other side
        more["pads"] = pads[2:4] if pads and len(pads) == 8 and not whole else None
    if node.op_type in ("SpaceToDepth", "DepthToSpace"):
        more["block"] = said["blocksize"]
    if node.op_type in ("Resize", "Upsample"):
        scales = said.get("scales") or constant(2 if node.op_type == "Resize" else 1)
        more |= {"scales": scales and scales[2:4], "mode": said.get("mode", "nearest")}
    told = tuple(shapes.get(name) for name in (*node.input, *node.output))
    return reach.Op(node.op_type, tuple(node.input), tuple(node.output), told, more)
