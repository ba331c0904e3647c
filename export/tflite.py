"""NAME-tflite/: a network as `.tflite` files, each with a JSON beside it that says all of it.

variant       weights in the file   arithmetic           signature
float32       float32               float32              float32: image, restored in [0, 1]
float16       float16               float32              the same
dynamic_int8  int8                  int8, as it comes    the same
int8          int8                  int8, calibrated     uint8: image, restored, 0 to 255

A file takes one picture at a time, its sides any multiples of `size_multiple`, or all of one
size, as GPU delegates and browsers want it. Nothing is padded inside: the caller does.
"""

import collections
import contextlib
import hashlib
import json
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from tf_deblur import errors
from tf_deblur.errors import UserError
from tf_deblur.export import VARIANTS, measuring, saved_model
from tf_deblur.export.real_pictures import Pictures
from tf_deblur.files import whole
from tf_deblur.restoring import tiling

WEIGHT_BYTES = dict(zip(VARIANTS, (4, 2, 1, 1)))
# What every runtime and GPU delegate has. Not RELU_0_TO_1, nor what sizes are computed with.
OPS = {"CONV_2D", "ADD", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "RELU", "MINIMUM"}
OPS |= {"QUANTIZE", "DEQUANTIZE"}
PATCH, PATCHES = 256, 32  # side in pixels, and how many ranges of numbers are taken from
PAIRS, SHOWN = 8, 4  # at most, that files are measured on
NONE = Pictures()


def write(
    model: keras.Model,
    facts: dict,
    output: pathlib.Path,
    variants: Sequence[str],
    sizes: Sequence[tuple[int, int] | None],
    calibration: Pictures = NONE,
    pairs: Pictures = NONE,
) -> pathlib.Path:
    """Writes OUTPUT/PRESET-tflite/ with a file for each variant and size; it appears whole.

    Args:
      model: a generator of `networks.build_generator`, made in float32.
      facts: dict for the JSONs, of `export.describe`.
      output: a `pathlib.Path`.
      variants: of VARIANTS.
      sizes: (height, width), or None for any.
      calibration: `real_pictures.Pictures` that int8's ranges are taken from.
      pairs: the same, that restored PSNR is measured on.

    Returns:
      The folder.

    Raises:
      UserError: a size that the network does not take; int8 without pictures, or one of them
        too small; a file that cannot be right.
    """
    multiple = facts["size_multiple"]
    for fixed in filter(None, sizes):
        if any(side % multiple or not side for side in fixed):
            raise UserError(f"{name_size(fixed)[0]}: sides must be multiples of {multiple} pixels")
    patches = cut_patches(calibration.blurred) if "int8" in variants else ()
    shown = pairs if pairs.blurred else choose_some(calibration)
    folder = output / f"{facts['preset']}-tflite"
    with whole(folder) as part:
        part.mkdir()
        for size in sizes:
            judge = measuring.Judge(model, shown, size)
            with save_temporarily(model, size) as source:
                for variant in variants:
                    path = part / "-".join([facts["preset"], variant, *name_size(size)])
                    data = convert(source, variant, patches)
                    description = facts | describe_file(path.name, data, variant, size, facts)
                    description["calibration"] = calibration.name if variant == "int8" else None
                    check(description, WEIGHT_BYTES[variant] * facts["parameters"])
                    path.with_suffix(".tflite").write_bytes(data)
                    beside = path.with_suffix(".json")
                    beside.write_text(json.dumps(description))  # what running it needs
                    description |= judge(path.with_suffix(".tflite"))
                    beside.write_text(json.dumps(description, indent=1))
    return folder


def choose_some(calibration: Pictures) -> Pictures:
    """Some of the pictures, and not all of each, for files to be measured on."""
    side = max(measuring.TILE)
    few = [picture[:side, :side] for picture in calibration.blurred[:SHOWN]]
    return Pictures(calibration.name, few)


def name_size(size: tuple[int, int] | None) -> list[str]:
    """[WIDTHxHEIGHT] of a size; [] of any."""
    return [f"{size[1]}x{size[0]}"] if size else []


@contextlib.contextmanager
def save_temporarily(model: keras.Model, size: tuple[int, int] | None) -> Iterator[str]:
    """A SavedModel of the network at one size or any; its signatures are named as served ones.

    By a SavedModel of ExportArchive alone: of functions that Keras 3 made, the converter
    leaves the weights out, and tells nobody.
    """
    height, width = size or (None, None)
    image = tf.TensorSpec([1, height, width, 3], tf.float32, name="image")

    def restore(image):
        # Of clip_by_value the converter makes RELU_0_TO_1, which GPU delegates do not have.
        return {"restored": tf.minimum(tf.nn.relu(model(image, training=False)), 1.0)}

    @tf.function(input_signature=[image], autograph=False)
    def float32(image):
        return restore(image)

    @tf.function(input_signature=[image], autograph=False)
    def uint8(image):
        return restore(image)

    with tempfile.TemporaryDirectory() as folder:
        saved_model.write_signatures(folder, float32, uint8)
        yield folder


def convert(source: str, variant: str, patches: Sequence[np.ndarray] = ()) -> bytes:
    """The bytes of a `.tflite` file with one signature, `float32`, or `uint8` if it is int8."""
    name = "uint8" if variant == "int8" else "float32"
    with errors.quiet():
        converter = tf.lite.TFLiteConverter.from_saved_model(source, signature_keys=[name])
        if variant != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if variant == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.uint8
            # of another size than the file's: the calibrator sizes its network anew
            converter.representative_dataset = lambda: ((name, {"image": p}) for p in patches)
        return converter.convert()


def cut_patches(photographs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Patches of photographs, in turn: a list of (1, PATCH, PATCH, 3) float32 in [0, 1]."""
    if not len(photographs):
        raise UserError("int8: wants photographs to take its ranges from; --calibration=FOLDER")
    rng = np.random.default_rng(0)
    patches = []
    for number in range(PATCHES):
        photograph = photographs[number % len(photographs)]
        room = np.subtract(photograph.shape[:2], PATCH) + 1
        if room.min() < 1:
            height, width = photograph.shape[:2]
            raise UserError(
                f"int8: a photograph of {width}x{height} among those that its ranges are taken "
                f"from; at least {PATCH}x{PATCH} are wanted"
            )
        top, left = rng.integers(0, room)
        patches.append(photograph[None, top : top + PATCH, left : left + PATCH] / np.float32(255))
    # black and white are in it, so that a uint8 of the file is one of the picture
    patches[0][:, :8, :8], patches[0][:, :8, 8:16] = 0, 1
    return patches


def describe_file(
    name: str, data: bytes, variant: str, size: tuple[int, int] | None, facts: dict
) -> dict:
    """What the JSON says of a file beside what it says of the network.

    Args:
      name: of the file, without its suffix.
      data: its bytes.
      variant, size: as in `write`.
      facts: of the network.
    """
    graph, ops = read_graph(data)
    signature = "uint8" if variant == "int8" else "float32"
    return {
        "name": name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "variant": variant,
        "signature": signature,
        "fixed_size": list(size) if size else None,
        "margin": tiling.compute_margin(facts["radius"], facts["size_multiple"]),
        "inputs": [describe_tensor("image", graph.Tensors(graph.Inputs(0)), signature)],
        "outputs": [describe_tensor("restored", graph.Tensors(graph.Outputs(0)), signature)],
        "ops": ops,
    }


def read_graph(data: bytes) -> tuple[schema.SubGraph, dict[str, int]]:
    """A file's graph, and how often each op is in it: {name: count}."""
    model = schema.Model.GetRootAsModel(data, 0)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    ops: collections.Counter[str] = collections.Counter()
    graphs = [model.Subgraphs(number) for number in range(model.SubgraphsLength())]
    for graph in graphs:
        for index in range(graph.OperatorsLength()):
            code = model.OperatorCodes(graph.Operators(index).OpcodeIndex())
            # the one for numbers above 127, the other as old files have it
            ops[names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]] += 1
    return graphs[0], dict(ops)


def describe_tensor(name: str, stored: schema.Tensor, dtype: str) -> dict:
    """What goes in or comes out, as the JSON has it; -1 in a shape is any length.

    A number q of a quantised one stands for (q - zero_point) * scale.
    """
    signed = stored.ShapeSignatureAsNumpy() if stored.ShapeSignatureLength() else ()
    shape = signed if len(signed) else stored.ShapeAsNumpy()
    quantisation = None
    if dtype == "uint8":
        by = stored.Quantization()
        quantisation = {"scale": float(by.Scale(0)), "zero_point": int(by.ZeroPoint(0))}
    return {
        "name": name,
        "shape": [int(length) for length in shape],
        "dtype": dtype,
        "range": [0, 255] if dtype == "uint8" else [0, 1],
        "quantisation": quantisation,
    }


def check(facts: dict, weights: int) -> None:
    """UserError for what must not leave here: ops that are not everywhere, lacking weights."""
    if odd := facts["ops"].keys() - OPS:
        raise UserError(f"{facts['name']}: has {', '.join(sorted(odd))}, which not all runtimes do")
    if facts["bytes"] < weights:
        raise UserError(
            f"{facts['name']}: {facts['bytes']} bytes, and its weights alone are {weights}; "
            "TensorFlow's converter has lost them"
        )


def summarise(folder: pathlib.Path) -> Iterator[str]:
    """A line for each file of a folder that `write` made: what it takes and what it loses."""
    for path in sorted(folder.glob("*.json")):
        description = json.loads(path.read_text())
        measured, psnr = description["measured"], description["psnr"]
        near = measured["psnr_to_keras"]
        line = [
            f"{description['bytes'] / 1e6:.1f} MB",
            f"{measured['milliseconds_a_megapixel']:.0f} ms a megapixel",
            f"{255 * measured['largest_difference']:.1g} levels of 255 from Keras at most",
            f"{near:.1f} dB" if near else "equal",
        ]
        if psnr:
            line.append(f"restored {psnr['restored']:.2f} dB, {psnr['keras']:.2f} by Keras")
        if description["worse_than_float32"]:
            line.append(f"WORSE THAN float32 BY MORE THAN {measuring.LOST} dB")
        yield f"{description['name']}: {', '.join(line)}"
