"""Scores restored pictures on a data set: PSNR and SSIM of whole 8-bit frames, one row a method.

python -m tf_deblur.evaluate --model=compact --model=runs/paper --dataset=gopro --manual_dir=FOLDER
python -m tf_deblur.evaluate --restored=Whyte=FOLDER --dataset=lai/uniform --output=scores
"""

import importlib
import json
import os
import pathlib
import sys
import typing
from collections.abc import Callable, Sequence

from absl import flags

from tf_deblur import devices, errors
from tf_deblur.scoring.alignments import ALIGNMENTS, ASKED, choose_alignments
from tf_deblur.scoring.methods import BASELINES

if typing.TYPE_CHECKING:
    import tensorflow_datasets as tfds

    from tf_deblur.scoring import methods, scoring
    from tf_deblur.scoring.pictures import Pictures

_MODEL = flags.DEFINE_multi_string(
    "model",
    [],
    "Score this network: a preset, a working directory, a .safetensors file, a SavedModel, a "
    ".tflite file, what others trained (.onnx, .keras, TensorFlow.js), or a URL of TensorFlow "
    "Serving; NAME=MODEL names its row; repeat it for others. "
    "Where no method is named, compact is scored.",
)
_RESTORED = flags.DEFINE_multi_string(
    "restored",
    [],
    "Score what another program restored, NAME=FOLDER of pictures SEQUENCE/FRAME.png; repeat it.",
)
_BASELINE = flags.DEFINE_multi_enum(
    "baseline",
    [],
    list(BASELINES),
    "Score a deconvolution of scikit-image's, which is told the blur by --kernel; repeat it.",
)
_KERNEL = flags.DEFINE_string(
    "kernel",
    None,
    "Tell the baselines the blur's kernel, as text or a picture, or a folder with one for each "
    "FRAME.",
)
_DATASET = flags.DEFINE_string(
    "dataset",
    "gopro",
    "Score on this data set and config: gopro, gopro/blur_gamma, lai/uniform or kohler, say.",
)
_SPLIT = flags.DEFINE_enum(
    "split",
    None,
    ["train", "validation", "test"],
    "Score this part; test if not given, or train where that is all there is.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "~/tensorflow_datasets", "Keep prepared data sets in this folder."
)
_MANUAL_DIR = flags.DEFINE_string(
    "manual_dir", None, "Look for the pictures here: the folder that holds GOPRO_Large, say."
)
_ALIGN = flags.DEFINE_enum(
    "align",
    None,
    list(ASKED),
    "Lay restored and sharp picture upon each other in this way; the data set's own if not given.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "auto",
    devices.RESTORING,
    "Multiply in this precision; auto takes bfloat16 where the device is faster in it; int8 is for "
    "weights of ours on OpenVINO.",
)
_ENSEMBLE = flags.DEFINE_enum(
    "ensemble",
    "1",
    ["1", "4", "8"],
    "Score the mean of so many positions of each picture too, turned and mirrored.",
)
_CHECK = flags.DEFINE_bool(
    "check", False, "Score what `deblur` writes: the original where the result cannot be right."
)
_PERCEPTUAL = flags.DEFINE_bool(
    "perceptual", False, "Measure SSIMULACRA2 and FLIP too, by the extra [perceptual]."
)
_PUBLISHED = flags.DEFINE_bool("published", False, "Print the paper's published rows too.")
_PER_SEQUENCE = flags.DEFINE_bool("per_sequence", False, "Print a table of the sequences too.")
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Write the table as Markdown and CSV, every picture's scores, and JSON into this folder.",
)
_RESUME = flags.DEFINE_bool("resume", False, "Go on with a run that was stopped, in --output.")
_FIGURES = flags.DEFINE_integer(
    "figures",
    0,
    "Draw contact sheets of this many pictures, those where the methods differ most.",
    0,
)
_PLACES = flags.DEFINE_multi_string(
    "place",
    [],
    "Draw a contact sheet of this picture, magnified there: SEQUENCE/FRAME:X,Y; repeat it.",
)
_PLOTS = flags.DEFINE_bool("plots", False, "Draw plots of PSNR and gain too, by matplotlib.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; evaluation takes flags only")
    folder = choose_folder()
    if _PERCEPTUAL.value:
        require("perceptual", "tf_deblur.scoring.perceptual", "perceptual")
    from tf_deblur import datasets
    from tf_deblur.scoring import methods, report, scoring
    from tf_deblur.scoring.pictures import Pictures

    count = int(_ENSEMBLE.value)
    opened = (methods.open_models(name, _PRECISION.value, count) for name in choose_models())
    models = [method for of_one in opened for method in of_one]
    builder = datasets.prepare(_DATASET.value, _DATA_DIR.value, _MANUAL_DIR.value, in_place=True)
    alignments = choose_alignments(builder, _ALIGN.value)
    measure, measured_by = choose_measure(alignments)
    pictures = Pictures(builder, _SPLIT.value)
    refuse_small_pictures(builder, alignments)
    places = parse_places(pictures)
    folders = [methods.open_folder(named, pictures) for named in _RESTORED.value]
    baselines = [methods.open_baseline(name, _KERNEL.value, pictures) for name in _BASELINE.value]
    scored = methods.join(models, folders, baselines)
    settings = {
        "dataset": builder.info.full_name,
        "split": pictures.split,
        "check": _CHECK.value,
        "perceptual": measured_by,
        "alignments": {name: ALIGNMENTS[name].told for name in alignments},
        "methods": {method.name: method.facts for method in scored},
        "versions": report.list_versions(),
    }
    log = scoring.Log(folder, settings, _RESUME.value) if folder else None
    records = score_pictures(pictures, scored, settings, log, measure)
    good = [number for number, record in enumerate(records) if "scores" in record]
    problems = len(records) - len(good)
    if not good:
        raise errors.UserError(f"{_DATASET.value}: not one of {problems} pairs could be scored")
    pair = pictures.read(good[0])
    result = settings | {
        "command": sys.argv[1:],
        "pairs": len(good),
        "of_pairs": builder.info.metadata["official"].get(pictures.split) or len(pictures),
        "registered": builder.info.metadata["registered"],
        "rounding": report.ROUNDING,
        "ssim": report.SSIM,
        "methods": {m.name: m.facts | m.notes | measure_costs(m, pair) for m in scored},
        "tables": report.summarise(records, settings["methods"], alignments),
        "frames": records,
    }
    printed = list(report.make_tables(result, _PUBLISHED.value, _PER_SEQUENCE.value))
    if folder and log:
        report.write(result, folder, printed)
        draw(result, pictures, scored, places, folder)
        log.finish()
    print("\n\n".join(report.format_text(*table) for table in printed))
    if problems:
        raise errors.UserError(f"{problems} pairs left out of every method's mean, as said above")


def choose_models() -> list[str]:
    named = _MODEL.value or _RESTORED.value or _BASELINE.value
    return _MODEL.value if named else ["compact"]


def choose_folder() -> pathlib.Path | None:
    """--output, or None; UserError if a flag wants what is not there."""
    if _PLOTS.value:
        require("plots", "matplotlib", "evaluate")
    if _OUTPUT.value:
        return pathlib.Path(_OUTPUT.value)
    for flag in (_RESUME, _FIGURES, _PLACES, _PLOTS):
        if flag.value:
            raise errors.UserError(f"--{flag.name}: wants --output, the folder for its files")
    return None


def require(flag: str, module: str, extra: str) -> None:
    """UserError, before hours of scoring, where a flag's packages are not installed."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise errors.UserError(
            f"--{flag}: wants what is missing ({error}); pip install 'tf-deblur[{extra}]'"
        ) from error


def choose_measure(alignments: Sequence[str]) -> tuple[Callable, dict[str, str]]:
    """What pictures are scored by, and the versions of the packages that --perceptual wants."""
    from tf_deblur.scoring import scoring

    if not _PERCEPTUAL.value:
        return scoring.MEASURE, {}
    from tf_deblur.scoring import perceptual

    if any(ALIGNMENTS[name].own for name in alignments):
        raise errors.UserError(
            f"--perceptual: {alignments[0]} has metrics of its own; leave it out"
        )
    return perceptual.score, perceptual.list_versions()


def refuse_small_pictures(builder: "tfds.core.DatasetBuilder", alignments: Sequence[str]) -> None:
    """UserError, before hours of scoring, for a data set with pictures too small to score."""

    if builder.name == "kohler":
        return  # of halves that are not there it has one pixel; each picture is looked at
    smallest = builder.info.metadata["smallest_side"]
    needed = max(ALIGNMENTS[name].smallest_side for name in alignments)
    if smallest < needed:
        raise errors.UserError(
            f"{_DATASET.value}: a picture in it has a side of {smallest} pixels, and scoring "
            f"wants {needed}; take it out, or use another --align"
        )


def parse_places(pictures: "Pictures") -> dict[int, list[tuple[int, int]]]:
    """{number of a picture: [(x, y), …]} of --place."""
    found: dict[int, list[tuple[int, int]]] = {}
    for place in _PLACES.value:
        name, _, corner = place.rpartition(":")
        x, _, y = corner.partition(",")
        sequence, _, frame = name.rpartition("/")
        key = (sequence or ".", frame)
        if key not in pictures.names:
            raise errors.UserError(f"--place={place}: no picture {name!r}; say SEQUENCE/FRAME:X,Y")
        if not (x.isdecimal() and y.isdecimal()):
            raise errors.UserError(f"--place={place}: {corner!r} is no X,Y in pixels")
        found.setdefault(pictures.names.index(key), []).append((int(x), int(y)))
    return found


def score_pictures(
    pictures: "Pictures",
    scored: list["methods.Method"],
    settings: dict,
    log: "scoring.Log | None",
    measure: Callable,
) -> list[dict]:
    """The record of every picture; those of a run that was stopped are not made again."""
    from tqdm import tqdm

    from tf_deblur.scoring import scoring

    records = log.records if log else []
    stands = "; what is scored stands, go on with --resume" if log else ""
    bar = tqdm(total=len(pictures), initial=len(records), unit="pair", leave=False, disable=None)
    rest = range(len(records), len(pictures))
    try:
        for record in scoring.score_all(
            pictures, rest, scored, settings["alignments"], _CHECK.value, measure
        ):
            records.append(record)
            if log:
                log.add(record)
            if "problem" in record:
                tqdm.write(f"error: {record['problem']}", file=sys.stderr)
            bar.update()
    except errors.UserError as error:
        raise errors.UserError(f"{error}{stands}") from error
    except KeyboardInterrupt:  # the network cannot be stopped inside a tile, the process can
        bar.close()
        print(f"error: interrupted{stands}", file=sys.stderr, flush=True)
        os._exit(130)
    bar.close()
    return records


def measure_costs(method: "methods.Method", pair: dict) -> dict[str, float]:
    from tf_deblur.scoring import scoring

    if not method.timed:
        return {}
    seconds = scoring.measure_seconds(method, pair)
    return {"seconds_a_megapixel": seconds} | method.costs(*pair["blurred"].shape[:2])


def draw(
    result: dict,
    pictures: "Pictures",
    scored: list["methods.Method"],
    places: dict,
    folder: pathlib.Path,
) -> None:
    """The contact sheets and plots that were asked for."""
    from tf_deblur.pictures import photographs
    from tf_deblur.scoring import figures, methods, report, scoring

    alignment, records = report.choose_alignment(result), result["frames"]
    chosen = dict.fromkeys(figures.find_most_different(records, alignment, _FIGURES.value))
    sheets = {
        number: methods.join_names(records[number]["sequence"], records[number]["frame"])
        for number in chosen | places
        if "problem" not in records[number]  # said already
    }
    listed = folder / "drawn.json"
    for old in read_drawn(listed):  # of another run
        (folder / old).unlink(missing_ok=True)
    drawn = [f"figures/{name}.png" for name in sheets.values()]
    drawn += [f"plots/{name}" for name in figures.PLOTS if _PLOTS.value]
    report.write_text(listed, json.dumps(drawn))  # first, so that a run that is killed has told
    for number, name in sheets.items():
        pair, restored, _ = scoring.restore_by_all(pictures.read(number), scored, _CHECK.value)
        assert isinstance(restored, dict)  # its record has no problem
        sheet = figures.draw_pair(pair, restored, records[number], alignment, places.get(number))
        photographs.write(folder / "figures" / f"{name}.png", sheet)
    if _PLOTS.value:
        figures.write_plots(result, folder / "plots")


def read_drawn(path: pathlib.Path) -> list[str]:
    """What another run has drawn, by its list; nothing by one that is missing or damaged."""
    try:
        names = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def cli() -> None:
    errors.run(main)


if __name__ == "__main__":
    cli()
