"""Contact sheets of magnified crops, as the paper's Figures 2 and 3, and plots of scores."""

import pathlib
import textwrap
from collections.abc import Sequence

import numpy as np

from tf_deblur.errors import explain_unwritable
from tf_deblur.files import whole
from tf_deblur.opencv import cv2
from tf_deblur.pictures import arrays
from tf_deblur.scoring import report
from tf_deblur.scoring.alignments import ALIGNMENTS, SHIFTS
from tf_deblur.scoring.methods import BLURRED

COLUMN = 320  # pixels: a picture's width on the sheet, and the side of a magnified crop
CROP = 80  # pixels of the picture, magnified four times
CROPS = 2  # on each sheet, where nobody names a place
PLOTS = ("psnr.png", "gain.png")
LINE, INK, PAPER, BOX = 24, 0, 255, (255, 40, 40)


def find_most_different(records: list[dict], alignment: str, count: int) -> list[int]:
    """Numbers of the pictures whose methods' scores lie farthest apart, the farthest first."""
    metric = ALIGNMENTS[alignment].headline

    def spread(number):
        values = [own[metric] for own in records[number]["scores"][alignment].values()]
        finite = [value for value in values if np.isfinite(value)]
        return max(finite) - min(finite) if finite else 0.0

    scored = [number for number, record in enumerate(records) if "scores" in record]
    return sorted(scored, key=spread, reverse=True)[:count]


def find_places(pictures: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """The crops where pictures of one size differ most: [(x, y), …] of their upper left corners."""
    stack = np.stack([arrays.to_float(picture).mean(-1) for picture in pictures])
    apart = stack.max(0) - stack.min(0)
    height, width = (min(CROP, length) for length in apart.shape)
    corner = {"anchor": (0, 0), "borderType": cv2.BORDER_CONSTANT}
    sums = cv2.boxFilter(apart, -1, (width, height), **corner)
    sums = sums[: apart.shape[0] - height + 1, : apart.shape[1] - width + 1].copy()
    found = []
    for _ in range(CROPS):
        y, x = np.unravel_index(np.argmax(sums), sums.shape)
        found.append((int(x), int(y)))
        apart_y, apart_x = 2 * height, 2 * width  # the next one shows another place
        sums[max(y - apart_y, 0) : y + apart_y, max(x - apart_x, 0) : x + apart_x] = -1
    return found


def draw_sheet(
    pictures: Sequence[np.ndarray], labels: Sequence[str], corners: Sequence[tuple[int, int]]
) -> np.ndarray:
    """Pictures side by side, below each the magnified crops of the same places.

    Args:
      pictures: list of (height, width, 3) uint8, all of one size.
      labels: a line for each.
      corners: (x, y) of the crops, in pixels; moved inside where they would stick out.

    Returns:
      (rows, columns, 3) uint8.
    """
    height, width = pictures[0].shape[:2]
    side = min(CROP, height, width)
    corners = [(min(x, width - side), min(y, height - side)) for x, y in corners]
    columns = []
    for picture, label in zip(pictures, labels):
        parts = [_draw_line(label), _draw_small(picture, corners, side)]
        for x, y in corners:
            crop = picture[y : y + side, x : x + side]
            size = (COLUMN, COLUMN)
            parts += [_make_gap(), cv2.resize(crop, size, interpolation=cv2.INTER_NEAREST)]
        columns += [np.concatenate(parts), np.full((sum(map(len, parts)), 6, 3), PAPER, np.uint8)]
    return arrays.join_side_by_side(*columns[:-1])


def _draw_line(label):
    line = np.full((LINE, COLUMN, 3), PAPER, np.uint8)
    plain = label.encode("ascii", "replace").decode()  # OpenCV's letters are no others
    at, font = (2, LINE - 8), cv2.FONT_HERSHEY_SIMPLEX
    return cv2.putText(line, plain, at, font, 0.45, (INK,) * 3, 1, cv2.LINE_AA)


def _shorten(name):
    """A name that fits on a line: of a path both ends tell more than the middle."""
    return name if len(name) <= 27 else f"{name[:12]}...{name[-12:]}"


def _draw_small(picture, corners, side):
    """The whole picture in a column's width, the crops' places marked."""
    scale = COLUMN / picture.shape[1]
    size = (COLUMN, max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    for x, y in corners:
        first = (round(x * scale), round(y * scale))
        last = (round((x + side) * scale), round((y + side) * scale))
        cv2.rectangle(small, first, last, BOX, 2)
    return small


def _make_gap():
    return np.full((6, COLUMN, 3), PAPER, np.uint8)


def draw_pair(
    pair: dict,
    restored: dict[str, np.ndarray],
    record: dict,
    alignment: str,
    corners: Sequence[tuple[int, int]] | None,
) -> np.ndarray:
    """The contact sheet of one picture: blurred, every method, sharp, each with its score."""
    metric = ALIGNMENTS[alignment].headline
    scores, notes = record["scores"][alignment], record["notes"][alignment]
    labels = [f"{_shorten(name)}  {scores[name][metric]:.2f} dB" for name in restored]
    sharp = pair["sharp"]
    if not isinstance(sharp, np.ndarray):  # Köhler's: of the camera's way, the middle
        sharp = sharp[len(sharp) // 2]
    crop = SHIFTS.get(alignment, {"crop": 0})["crop"]
    shown = [
        _crop_to_scored(picture, notes.get(name, {}), crop) for name, picture in restored.items()
    ]
    corners = [(max(x - crop, 0), max(y - crop, 0)) for x, y in corners or ()] or find_places(shown)
    return draw_sheet([*shown, _crop_to_scored(sharp, {}, crop)], [*labels, "sharp"], corners)


def _crop_to_scored(picture, note, crop):
    """The part that is scored, read where the best shift says, to whole pixels."""
    down, right = (round(note.get(way, 0)) for way in ("down", "right"))
    height, width = picture.shape[:2]
    return picture[crop + down : height - crop + down, crop + right : width - crop + right]


def write_plots(result: dict, folder: pathlib.Path) -> None:
    """Writes PLOTS, psnr.png and gain.png: the last table's PSNR against the input's, and the gain.

    A picture that equals its sharp one has no finite PSNR, and is in neither.

    Raises:
      UserError: they cannot be written.
    """
    alignment = report.choose_alignment(result)
    methods = [method for method in result["methods"] if method != BLURRED]
    scores = report.group_by_sequence(result, alignment)
    label = report.LABELS[ALIGNMENTS[alignment].headline]
    for name, draw in zip(PLOTS, (_plot_against_the_input, _plot_gain_by_sequence)):
        figure = draw(scores, methods, ALIGNMENTS[alignment].headline, label)
        title = (
            f"{report.shorten_name(result)}, {result['pairs']} pairs; {ALIGNMENTS[alignment].told}"
        )
        figure.suptitle(textwrap.fill(title, 80), fontsize=9)
        with explain_unwritable(folder), whole(folder / name) as part:
            figure.savefig(part, dpi=120)


def _plot_against_the_input(scores, methods, metric, label):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    own = [score for sequence in scores.values() for score in sequence]
    for method in methods:
        pairs = [(score[BLURRED][metric], score[method][metric]) for score in own]
        axes.scatter(*np.reshape(_keep_finite(pairs), (-1, 2)).T, s=14, label=method)
    least = min(score[BLURRED][metric] for score in own)
    if np.isfinite(least):
        axes.axline((least, least), slope=1, color="grey", linewidth=1, label="no change")
    axes.set(xlabel=f"{label} of the blurred input", ylabel=f"{label} restored")
    axes.legend()
    return figure


def _plot_gain_by_sequence(scores, methods, metric, label):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2 + 0.3 * len(scores) * max(1, len(methods))), layout="constrained")
    axes = figure.subplots()
    rows, thick = np.arange(len(scores)), 0.8 / max(1, len(methods))
    for number, method in enumerate(methods):
        gains = []
        for sequence in scores.values():
            pairs = _keep_finite(
                [(score[BLURRED][metric], score[method][metric]) for score in sequence]
            )
            gains.append(np.mean([after - before for before, after in pairs]) if pairs else 0)
        axes.barh(rows + (number - (len(methods) - 1) / 2) * thick, gains, thick, label=method)
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_yticks(rows, list(scores))
    axes.invert_yaxis()
    axes.set(xlabel=f"gain over the blurred input, {label}")
    axes.legend()
    return figure


def _keep_finite(pairs):
    return [pair for pair in pairs if np.isfinite(pair).all()]
