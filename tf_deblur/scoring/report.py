"""What scores come to: means, tables as text, Markdown, CSV and JSON."""

import csv
import io
import json
import math
import pathlib
import platform
import re
import statistics
from collections.abc import Iterable, Iterator

from tf_deblur.errors import explain_unwritable
from tf_deblur.files import whole
from tf_deblur.scoring.alignments import ALIGNMENTS
from tf_deblur.scoring.methods import BLURRED

# Lines of title, rows of text, lines below.
Table = tuple[list[str], list[list[str]], list[str]]

LABELS = {
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "ssim_matlab_rgb": "SSIM (MATLAB, RGB)",
    "psnr_y": "PSNR of Y dB",
    "ssim_y": "SSIM of Y",
    "ssim_y_reduced": "SSIM of Y reduced",
    "psnr_luma": "PSNR of luma dB",
    "ms_ssim": "MS-SSIM",
    "ssimulacra2": "SSIMULACRA2",
    "flip": "FLIP",
}
ROUNDING = "8-bit RGB, rounded half to even"
SSIM = "SSIM of each channel alone; (MATLAB, RGB): its window crosses the channels"
PERCEPTUAL = "SSIMULACRA2: 100 if equal; FLIP: 0 if equal"
NOTES = {
    "at_limit": "with the best shift on the border of the search, where it may be larger",
    "failed": "not to be registered, and scored as they lie",
}
# What a method takes: the column, what it is called in the JSON, its unit, how it is written.
COSTS = {
    "s/MP": ("seconds_a_megapixel", 1, ".2f"),
    "GMAC/MP": ("multiply_adds", 1e3, ".0f"),
    "M weights": ("parameters", 1e6, ".2f"),
    "GB": ("memory", 1e9, ".2f"),
}
UNTOLD = "SSIM, kind untold"
SOURCES = [
    "quoted: not measured here, but published, on all pairs; Whyte to Sang by Table 3 of Sang, Gao "
    "and Yin 2018, config and SSIM's kind not told; each other one by its own paper"
]
# PSNR and SSIM: Table 3 of Sang, Gao and Yin 2018, then each paper's own.
PUBLISHED = {
    "gopro": {
        "Whyte": (23.6169, 0.8017),
        "Sun": (25.8298, 0.8894),
        "Gong": (26.4322, 0.8994),
        "Sang": (29.9762, 0.9182),
        "DeblurGAN-v2 (Inception)": (29.55, 0.934),
        "MPRNet": (32.66, 0.959),
        "MAXIM-3S": (32.86, 0.961),
        "Restormer": (32.92, 0.961),
        "NAFNet, width 64": (33.69, 0.967),
    },
    "lai": {
        "Whyte": (13.6199, 0.5833),
        "Sun": (13.5328, 0.6072),
        "Gong": (13.9127, 0.6262),
        "Sang": (13.9519, 0.6325),
    },
}


def summarise(records: list[dict], methods: Iterable[str], alignments: Iterable[str]) -> dict:
    """{alignment: {method: {metric: mean, …}}} over the pictures that could be scored.

    Every picture counts once. An infinite PSNR, of a picture that equals its sharp one, is in no
    mean; `identical` counts them. Where the blurred one is such, the pair is in no method's.
    `deviation` is the standard deviation over pictures.
    """
    scored = [record for record in records if "scores" in record]
    return {
        alignment: {
            method: _summarise_method(
                [record["scores"][alignment] for record in scored], method, alignment
            )
            for method in methods
        }
        for alignment in alignments
    }


def _summarise_method(scores, method, alignment):
    own = [by_method[method] for by_method in scores]
    if not own:
        return {}
    headline = ALIGNMENTS[alignment].headline
    means = {metric: _mean(scores, method, metric) for metric in own[0]}
    decibels = [values[headline] for values in own if math.isfinite(values[headline])]
    worse = [s[method][headline] < s[BLURRED][headline] for s in scores]
    return means | {
        "pairs": len(own),
        "identical": len(own) - len(decibels),
        "deviation": statistics.pstdev(decibels) if decibels else 0.0,
        "made_worse": sum(worse) / len(worse),
    }


def _mean(scores, method, metric):
    """Of a metric, over the pairs where it is finite for this method and for the input."""
    pairs = ((by_method[method][metric], by_method[BLURRED][metric]) for by_method in scores)
    finite = [value for value, before in pairs if math.isfinite(value) and math.isfinite(before)]
    return sum(finite) / len(finite) if finite else math.inf


def make_tables(
    result: dict, published: bool = False, per_sequence: bool = False
) -> Iterator[Table]:
    """[(lines of title, rows of text, lines below), …] of all that there is to print.

    Args:
      result: what `evaluate` writes as JSON.
      published: whether the rows of the paper's Table 3 follow.
      per_sequence: whether a table of each sequence's PSNR follows.
    """
    for alignment in result["tables"]:
        rows = _rows(result, alignment, published)
        below = _below(result, alignment)
        if published and _find_published(result, alignment):
            below += SOURCES
        yield _title(result, alignment), rows, below
    if per_sequence:
        alignment = choose_alignment(result)
        way = ALIGNMENTS[alignment]
        group = "trajectory" if alignment == "kohler" else "sequence"
        title = [f"{LABELS[way.headline]} by {group}, {way.told}"]
        yield title, _sequence_rows(result, alignment), []


def choose_alignment(result: dict) -> str:
    """The alignment that sheets, plots and sequences are told in: the last is the most."""
    return list(result["tables"])[-1]


def shorten_name(result: dict) -> str:
    """The data set's name without the hashes that tell its builds apart: gopro/blur."""
    return re.sub("(-[0-9a-f]{6})+/.*|/[0-9.]+$", "", result["dataset"])


def _title(result, alignment):
    scored, of = result["pairs"], result["of_pairs"]
    partial = of and scored < of
    count = f"partial: {scored} of {of} pairs" if partial else f"{scored} pairs"
    split = f"split {result['split']}"
    if result["split"] == "train":
        split += ", of pairs to train on"
    shifted = alignment == "none" and not result["registered"]
    shifted = ", though this data set's halves are shifted" if shifted else ""
    notes = {"ssim_matlab_rgb": SSIM, "flip": PERCEPTUAL}
    metrics = result["tables"][alignment][BLURRED]
    return [
        f"{shorten_name(result)}, {split}, {count}",
        f"{ROUNDING}; {ALIGNMENTS[alignment].told}{shifted}",
        "; ".join(["means of per-picture values", *(notes[m] for m in notes if m in metrics)]),
    ]


def _rows(result, alignment, published):
    methods = result["tables"][alignment]
    metrics = [name for name in LABELS if name in methods[BLURRED]]
    head = ["", *(LABELS[name] for name in metrics), "pairs", "made worse", *COSTS]
    rows = [head]
    for method, means in methods.items():
        costs = [(result["methods"][method].get(key), *how) for key, *how in COSTS.values()]
        rows.append(
            [
                method,
                *(_number(name, means[name]) for name in metrics),
                str(means["pairs"]),
                "" if method == BLURRED else f"{means['made_worse']:.1%}",
                *("" if cost is None else f"{cost / unit:{kind}}" for cost, unit, kind in costs),
            ]
        )
    if published and (others := _find_published(result, alignment)):
        rows = [[*row, ""] for row in rows]
        rows[0][-1] = UNTOLD
        for method, (psnr, ssim) in others.items():
            gap = [""] * (len(head) - 2)
            rows.append([f"quoted: {method}", f"{psnr:.3f}", *gap, f"{ssim:.4f}"])
    return rows


def _find_published(result, alignment):
    """{method: (PSNR, SSIM)} of the paper on these pictures, as they lie; empty for others."""
    dataset, config = result["dataset"].split("/")[:2]
    theirs = config.partition("-")[0] in ("blur", "uniform", "nonuniform")
    if alignment == "none" and result["split"] == "test" and theirs:
        return PUBLISHED.get(dataset, {})
    return {}


def _below(result, alignment):
    """What has to be said under a table."""
    lines = [
        f"{method}: {means['identical']} equal to the sharp one; "
        f"not in {'any' if method == BLURRED else 'its'} mean of PSNR"
        for method, means in result["tables"][alignment].items()
        if means["identical"]
    ]
    for note, told in NOTES.items():
        notes = [record["notes"][alignment] for record in result["frames"] if "notes" in record]
        for method in result["methods"]:
            count = sum(own.get(method, {}).get(note, False) for own in notes)
            if count:
                lines.append(f"{method}: {count} {told}")
    kept = [record["kept"] for record in result["frames"] if record.get("kept")]
    for method in kept[0] if kept else ():
        share = sum(shares[method] for shares in kept) / len(kept)
        lines.append(f"{method}: {share:.2%} of the blocks kept as they were, by deblur's check")
    return lines


def _sequence_rows(result, alignment):
    metric, methods = ALIGNMENTS[alignment].headline, list(result["methods"])
    rows = [["", *methods, "pairs"]]
    for sequence, scores in group_by_sequence(result, alignment).items():
        means = (_mean(scores, method, metric) for method in methods)
        rows.append([sequence, *(_number(metric, mean) for mean in means), str(len(scores))])
    return rows


def group_by_sequence(result: dict, alignment: str) -> dict[str, list[dict]]:
    """{sequence: [{method: {metric: value}}, …]} of the pictures that were scored.

    Köhler's benchmark is told by trajectory, which is a picture's frame.
    """
    found: dict[str, list[dict]] = {}
    group = "frame" if alignment == "kohler" else "sequence"
    for record in result["frames"]:
        if "scores" in record:
            name = "all" if record[group] == "." else record[group]
            found.setdefault(name, []).append(record["scores"][alignment])
    return found


def _number(metric, value):
    return f"{value:.3f}" if metric.startswith(("psnr", "ssimulacra2")) else f"{value:.4f}"


def format_text(title: list[str], rows: list[list[str]], below: list[str]) -> str:
    """A table for the terminal."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join(f"{cell:{'<' if n == 0 else '>'}{widths[n]}}" for n, cell in enumerate(row))
        for row in rows
    ]
    return "\n".join([*title, *(line.rstrip() for line in lines), *below])


def format_markdown(title: list[str], rows: list[list[str]], below: list[str]) -> str:
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])]
    paragraphs = ["  \n".join(title), "\n".join(lines), "  \n".join(below)]
    return "\n\n".join(filter(None, paragraphs))


def format_csv(rows: Iterable[list]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def list_means(result: dict) -> Iterator[list]:
    """The tables' numbers, not rounded, one row an alignment and method."""
    metrics = _metrics(result)
    more = ("deviation", "pairs", "identical", "made_worse")
    costs = [key for key, *_ in COSTS.values()]
    yield ["alignment", "method", *metrics, *more, *costs]
    for alignment, methods in result["tables"].items():
        for method, means in methods.items():
            told = means | result["methods"][method]
            yield [alignment, method, *(told.get(name, "") for name in (*metrics, *more, *costs))]


def _metrics(result):
    return [m for m in LABELS if any(m in t[BLURRED] for t in result["tables"].values())]


def list_pictures(result: dict) -> Iterator[list]:
    """Every picture's own numbers, one row a picture, alignment and method."""
    metrics = _metrics(result)
    yield ["sequence", "frame", "alignment", "method", *metrics, "down", "right", "problem"]
    for record in result["frames"]:
        named = [record["sequence"], record["frame"]]
        if "problem" in record:
            yield [*named, "", "", *[""] * len(metrics), "", "", record["problem"]]
        for alignment, methods in record.get("scores", {}).items():
            for method, scores in methods.items():
                note = record["notes"][alignment].get(method, {})
                values = [repr(scores[m]) if m in scores else "" for m in metrics]
                shift = [note.get("down", ""), note.get("right", "")]
                yield [*named, alignment, method, *values, *shift, ""]


def list_versions() -> dict[str, str]:
    import cv2
    import keras
    import numpy
    import tensorflow

    import tf_deblur

    modules = (tf_deblur, tensorflow, keras, numpy, cv2)
    return {"python": platform.python_version()} | {m.__name__: m.__version__ for m in modules}


def write(result: dict, folder: pathlib.Path, printed: Iterable[Table]) -> None:
    """Writes table.md, table.csv, pictures.csv and result.json into a folder, each whole.

    Args:
      result: what `make_tables` takes.
      folder: a `pathlib.Path`; made if it is not there.
      printed: what `make_tables` gave.

    Raises:
      UserError: it cannot be written.
    """
    finite = json.loads(json.dumps(result), parse_constant=str)  # JSON has no infinity
    files = {
        "table.md": "\n\n".join(format_markdown(*table) for table in printed) + "\n",
        "table.csv": format_csv(list_means(result)),
        "pictures.csv": format_csv(list_pictures(result)),
        "result.json": json.dumps(finite, indent=1),
    }
    for name, text in files.items():
        write_text(folder / name, text)


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file, whole; UserError if it cannot be written."""
    with explain_unwritable(path), whole(path) as part:
        part.write_text(text)
