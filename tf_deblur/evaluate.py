"""Scores a trained network on a data set: PSNR and SSIM of whole 8-bit frames.

python -m tf_deblur.evaluate --model=compact --dataset=gopro --manual_dir=FOLDER
"""

import json
import math
import pathlib

from absl import flags

from tf_deblur import errors

_MODEL = flags.DEFINE_string(
    "model",
    "compact",
    "A preset, a working directory, a .safetensors file, a SavedModel or a .tflite file.",
)
_DATASET = flags.DEFINE_string("dataset", "gopro", "Data set and config: gopro, gopro/blur_gamma.")
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "What to score.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "~/tensorflow_datasets", "Where prepared data sets are kept."
)
_MANUAL_DIR = flags.DEFINE_string(
    "manual_dir", None, "Where the pictures are: the folder that holds GOPRO_Large, say."
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "auto",
    ["auto", "float32", "bfloat16"],
    "Of the arithmetic; auto takes bfloat16 where the device is faster in it.",
)
_CHECK = flags.DEFINE_bool(
    "check", False, "Score what `deblur` writes: the original where the result cannot be right."
)
_PER_IMAGE = flags.DEFINE_bool("per_image", False, "List each frame's scores too.")
_OUTPUT = flags.DEFINE_string("output", None, "A .json file to write the figures into.")

METRICS = ("psnr", "ssim", "ssim_matlab_rgb")
BLURRED = "blurred"  # the method that does nothing: what every other is compared with


def main(argv):
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; evaluation takes flags only")
    from tf_deblur import datasets, restorer, stream

    restore = restorer.load(_MODEL.value, _PRECISION.value)
    builder = datasets.prepare(_DATASET.value, _DATA_DIR.value, _MANUAL_DIR.value)
    pairs = stream.open_pairs(builder, _SPLIT.value, hold_out=False)
    refuse_what_would_fail(builder, pairs, restore)
    print(f"scoring {restore}", flush=True)
    methods = {BLURRED: lambda image: image, restore.name: restore}
    kept = []
    if _CHECK.value:
        methods[restore.name] = checked(restore, kept)
    frames = [score(pair, methods) for pair in with_progress(read(pairs), len(pairs))]
    result = {
        "restorer": str(restore),
        "dataset": builder.info.full_name,
        "split": _SPLIT.value,
        "pairs": len(frames),
        "of_pairs": builder.info.metadata["official"].get(_SPLIT.value),
        "registered": builder.info.metadata["registered"],
        "kept": sum(kept) / len(kept) if kept else None,
        "methods": {method: summary(frames, method) for method in methods},
        "frames": frames,
    }
    print("\n".join(table(result, _PER_IMAGE.value)))
    if _OUTPUT.value:
        write_json(result, pathlib.Path(_OUTPUT.value))


def checked(restore, kept):
    """What `deblur` writes; the share of each picture that it keeps is appended to `kept`."""
    from tf_deblur import guard

    def function(image):
        result, share = guard.restored(restore, image)
        kept.append(share)
        return result

    return function


def refuse_what_would_fail(builder, pairs, restore):
    """UserError for what would fail only after hours of scoring."""
    if not len(pairs):
        raise errors.UserError(f"{_DATASET.value}: no pairs in its split {_SPLIT.value}")
    smallest = builder.info.metadata["smallest_side"]
    if smallest < 11:
        raise errors.UserError(
            f"{_DATASET.value}: a picture in it has a side of {smallest} pixels, and the window "
            "of SSIM 11; take it out"
        )
    if restore.name == BLURRED:
        raise errors.UserError(f"{BLURRED}: is the input's row of the table; say ./{BLURRED}")


def read(pairs):
    """Each pair as a dict of uint8 arrays, blurred and sharp, and of its names."""
    for index in range(len(pairs)):
        features = pairs.decode(pairs.read(index))
        named = {key: features[key].numpy().decode() for key in ("sequence", "frame")}
        yield {key: features[key].numpy() for key in ("blurred", "sharp")} | named


def with_progress(pairs, total):
    from tqdm import tqdm

    return tqdm(pairs, total=total, unit="pair", leave=False, disable=None)


def score(pair, methods):
    """One frame's scores: {"sequence", "frame", "scores": {method: {metric: value}}}.

    Restored pictures are scored as they would be saved: 8 bits, rounded.
    """
    from tf_deblur import metrics

    scores = {}
    for method, restore in methods.items():
        restored = restore(pair["blurred"])
        scores[method] = {
            name: getattr(metrics, name)(restored, pair["sharp"], data_range=255)
            for name in METRICS
        }
    return {"sequence": pair["sequence"], "frame": pair["frame"], "scores": scores}


def summary(frames, method):
    """A method's means over frames, each frame counting once."""
    scores = [frame["scores"][method] for frame in frames]
    finite = [own["psnr"] for own in scores if math.isfinite(own["psnr"])]
    worse = [f["scores"][method]["psnr"] < f["scores"][BLURRED]["psnr"] for f in frames]
    return {
        "psnr": sum(finite) / len(finite) if finite else math.inf,
        "identical": len(scores) - len(finite),  # their PSNR is infinite, and in no mean
        "ssim": sum(own["ssim"] for own in scores) / len(scores),
        "ssim_matlab_rgb": sum(own["ssim_matlab_rgb"] for own in scores) / len(scores),
        "made_worse": sum(worse) / len(worse),
    }


def table(result, per_image):
    """The figures as lines of text, the blurred input's first."""
    pairs, all_pairs = result["pairs"], result["of_pairs"]
    partial = all_pairs and pairs < all_pairs
    count = f"partial: {pairs} of {all_pairs} pairs" if partial else f"{pairs} pairs"
    yield f"{result['dataset']}, split {result['split']}, {count}"
    shifted = "" if result["registered"] else ", though this data set's halves are shifted"
    yield f"whole frames, 8-bit RGB rounded half to even, not aligned{shifted}"
    yield "means of per-frame values"
    width = max(map(len, result["methods"]))
    yield f"{'':{width}}  PSNR dB    SSIM  SSIM (MATLAB, RGB)  made worse"
    for method, mean in result["methods"].items():
        worse = "" if method == BLURRED else f"{mean['made_worse']:11.1%}"
        yield f"{method:{width}}  {_row(mean)} {worse}".rstrip()
        if mean["identical"]:
            yield f"{mean['identical']} frames of {method} equal the sharp one; not in its PSNR"
    if result["kept"] is not None:
        yield f"{result['kept']:.2%} of the blocks kept as they were, by the check of `deblur`"
    for frame in result["frames"] if per_image else ():
        for method, scores in frame["scores"].items():
            yield f"{frame['sequence']}/{frame['frame']} {method:{width}}  {_row(scores)}"


def _row(scores):
    return f"{scores['psnr']:7.3f}  {scores['ssim']:.4f}  {scores['ssim_matlab_rgb']:18.4f}"


def write_json(result, path):
    from tf_deblur.files import whole

    result = json.loads(json.dumps(result), parse_constant=str)  # JSON has no infinity
    try:
        with whole(path) as part:
            part.write_text(json.dumps(result, indent=1))
    except OSError as error:
        raise errors.UserError(f"{path}: cannot be written ({error.strerror})") from error


def cli():
    errors.run(main)


if __name__ == "__main__":
    cli()
