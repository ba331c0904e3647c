"""Scores methods on a data set's pictures: read, restored and scored side by side, in order."""

import collections
import concurrent.futures
import functools
import itertools
import json
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from tf_deblur import devices
from tf_deblur.errors import BadPicture, UserError, explain_unwritable
from tf_deblur.files import whole
from tf_deblur.restoring import guard
from tf_deblur.scoring import metrics
from tf_deblur.scoring.alignments import ALIGNMENTS
from tf_deblur.scoring.methods import Method
from tf_deblur.scoring.pictures import Pictures

AHEAD = 4  # pictures that are read or restored before the one whose scores are waited for
MEASURE = functools.partial(metrics.score, data_range=255)  # of pictures that are compared whole


def score_all(
    pictures: Pictures,
    numbers: Iterable[int],
    methods: list[Method],
    alignments: Sequence[str],
    check: bool,
    measure: Callable = MEASURE,
) -> Iterator[dict]:
    """Yields the record of each picture, in order, as soon as it is known.

    Args:
      pictures: the `Pictures`.
      numbers: of those to score.
      methods: list of `methods.Method`.
      alignments: names of `ALIGNMENTS`.
      check: whether networks give the input back where the check of `deblur` fails.
      measure: (restored, sharp) in 0…255 -> {metric: value}, as `MEASURE`.

    Yields:
      {"sequence", "frame"}, and "scores": {alignment: {method: {metric: value}}}, "notes" of the
      alignments likewise, and "kept": {method: share of the blocks}; or else "problem", a line.

    Restored pictures are scored as they would be saved: 8 bits, rounded half to even.
    """
    reader, restorer = (concurrent.futures.ThreadPoolExecutor(1) for _ in range(2))
    scorer = concurrent.futures.ThreadPoolExecutor(devices.count_cores())
    under_way: collections.deque[concurrent.futures.Future] = collections.deque()

    def restore(read):
        return restore_by_all(read.result(), methods, check)

    def score(restored):
        return score_pair(*restored.result(), alignments, measure)

    try:
        for number in numbers:
            read = reader.submit(pictures.read, number)
            restored = restorer.submit(restore, read)
            under_way.append(scorer.submit(score, restored))
            if len(under_way) > AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:  # after an error nothing that waits is begun
        for pool in (reader, restorer, scorer):
            pool.shutdown(wait=False, cancel_futures=True)


def restore_by_all(
    pair: dict, methods: list[Method], check: bool
) -> tuple[dict, dict[str, np.ndarray] | str, dict[str, float]]:
    """(pair, {method: picture}, {method: share kept}); the pictures are a line if one is bad."""
    restored, kept = {}, {}
    for method in methods:
        try:
            picture = method.restore(pair)
        except BadPicture as error:
            return pair, str(error), {}
        if picture.shape != pair["blurred"].shape:
            (height, width), (h, w) = picture.shape[:2], pair["blurred"].shape[:2]
            return pair, f"is {width}x{height} by {method.name}, its ground truth {w}x{h}", {}
        if check and method.network:
            picture, kept[method.name] = guard.check(pair["blurred"], picture)
        restored[method.name] = picture
    return pair, restored, kept


def score_pair(
    pair: dict,
    restored: dict[str, np.ndarray] | str,
    kept: dict[str, float],
    alignments: Sequence[str],
    measure: Callable,
) -> dict:
    named = {"sequence": pair["sequence"], "frame": pair["frame"]}
    needed = max(ALIGNMENTS[alignment].smallest_side for alignment in alignments)
    if min(pair["blurred"].shape[:2]) < needed:
        restored = f"has a side of less than {needed} pixels, which scoring wants"
    if isinstance(restored, str):
        return named | {"problem": f"{pair['sequence']}/{pair['frame']}: {restored}"}
    scores, notes = {}, {}
    for alignment in alignments:
        score = ALIGNMENTS[alignment].score
        by = {name: score(each, pair["sharp"], measure) for name, each in restored.items()}
        scores[alignment] = {method: values for method, (values, _) in by.items()}
        notes[alignment] = {method: values for method, (_, values) in by.items() if values}
    return named | {"scores": scores, "notes": notes, "kept": kept}


def measure_seconds(method: Method, pair: dict) -> float:
    """How fast a method is: one picture, warm, with nothing else running."""
    method.restore(pair)
    begin = time.monotonic()
    picture = method.restore(pair)
    return (time.monotonic() - begin) / (picture.shape[0] * picture.shape[1] / 1e6)


class Log:
    """Records as they come, one JSON line each below the settings, so that a run can go on.

    A run that is under way has a file of its own; the one of a run before, whole, stands until
    `finish`.

    Args:
      folder: where scores.jsonl is of a finished run, unfinished.jsonl of another.
      settings: what decides the records; another run's are never taken for this one's.
      resume: whether to go on with what is there.

    Attributes:
      records: those that were there, up to the first with a problem, which may be mended.

    Raises:
      UserError: a run was stopped and is not to be resumed, what is there is of other
        settings, or the file cannot be written.
    """

    def __init__(self, folder: pathlib.Path, settings: dict, resume: bool) -> None:
        self.path, self.records = folder / "unfinished.jsonl", []
        self._finished = folder / "scores.jsonl"
        there = [path for path in (self.path, self._finished) if path.exists()]
        if there and resume:
            self.records = _records(there[0], settings)
        elif self.path in there:
            raise UserError(
                f"{self.path}: of a run that was stopped; add --resume, remove it, or use "
                "another --output"
            )
        with explain_unwritable(folder):
            with whole(self.path) as part:
                lines = [settings, *self.records]
                part.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
            self._file = self.path.open("a")

    def add(self, record: dict) -> None:
        with explain_unwritable(self.path):
            self._file.write(f"{json.dumps(record)}\n")
            self._file.flush()

    def finish(self) -> None:
        self._file.close()
        self.path.replace(self._finished)


def _records(path, settings):
    """A file's records of the same settings; a line that was cut short has no end."""
    try:
        head, *found = map(json.loads, path.read_bytes().split(b"\n")[:-1])
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged; remove it, or use another --output") from error
    if head != json.loads(json.dumps(settings)):
        odd = [
            name for name in settings if head.get(name) != json.loads(json.dumps(settings[name]))
        ]
        raise UserError(f"{path}: its {', '.join(odd)} are others; use another --output")
    return list(itertools.takewhile(lambda record: "problem" not in record, found))
