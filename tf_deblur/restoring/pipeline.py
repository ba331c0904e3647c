"""A picture's way from file to file: read, restored, checked, written; for every command alike."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tf_deblur import files
from tf_deblur.errors import BadPicture, UserError
from tf_deblur.opencv import cv2
from tf_deblur.pictures import arrays, formats, photographs, video
from tf_deblur.restoring import guard
from tf_deblur.restoring.jobs import PIPE, Job
from tf_deblur.restoring.restorer import Restorer

PROBLEMS = (UserError, OSError, MemoryError, cv2.error)  # of one file; the others go on


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is done to a picture; as the flags of `tf_deblur.deblur` of the same names."""

    format: str | None = None
    quality: int = photographs.QUALITY
    strip_metadata: bool = False
    keep_time: bool = False
    check: bool = True
    strength: float = 1.0
    max_megapixels: float = photographs.MEGAPIXELS
    again: bool = False


@dataclasses.dataclass
class Outcome:
    """What became of a file.

    Attributes:
      status: "restored", "failed" or "skipped".
      seconds: that the network and the check took, or a video in all.
      share_kept: of the picture, that the check kept as it was.
      error: the line that says why it failed, or was skipped where that is no wish of the user's.
      made: the result's size and what it lost, in words.
    """

    source: str
    target: str
    status: str = "failed"
    seconds: float | None = None
    share_kept: float | None = None
    error: str | None = None
    made: str | None = None


class AlreadyRestored(BadPicture):
    """A picture that is to be replaced, and that replaced one before."""


def explain(error: Exception, source: object) -> str:
    """The line for a file that could not be done, because of one of PROBLEMS."""
    if isinstance(error, BadPicture) and error.name is None:  # by an engine, which knows no names
        return f"{source}: {error}"
    if isinstance(error, UserError):
        return str(error)
    return f"{source}: {getattr(error, 'strerror', None) or type(error).__name__}"


def restore_checked(
    restore: Restorer,
    pixels: np.ndarray,
    check: bool = True,
    strength: float = 1.0,
    progress: Callable | None = None,
) -> tuple[np.ndarray, float]:
    """Restores a picture, checks it, and blends it with the input.

    Args:
      restore: what restores it.
      pixels: (height, width, 3), as it takes.
      check: whether blocks that cannot be right are given back.
      strength: 0 is the input, 1 the result.
      progress: as the restorer's.

    Returns:
      (picture, share of the blocks given back).
    """
    result, share = restore(pixels, progress), 0.0
    if check:
        result, share = guard.check(pixels, result)
    if strength < 1:
        result = arrays.blend(pixels, result, strength)
    return result, share


def count_pixels(job: Job) -> int:
    """How many a job has, those of all frames of a video; 0 where that is unknown or not needed."""
    if job.problem or job.done or isinstance(job.source, str):
        return 0
    count = video.count_pixels if job.is_video else photographs.count_pixels
    try:
        return count(job.source)
    except PROBLEMS:  # said when its turn comes
        return 0


class Pipeline:
    """One network and one way of using it, for any number of pictures.

    Args:
      restore: the network.
      settings: what is done.
      progress: called with the number of pixels done after each tile, if given.
    """

    def __init__(self, restore: Restorer, settings: Settings, progress: Callable | None = None):
        self.restore, self.settings, self.progress = restore, settings, progress

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Restores the files in turn.

        One is read, one restored and one written at a time, each in a thread of its own, so that
        the network never waits; and the main thread hears Ctrl-C.
        """
        stages = [concurrent.futures.ThreadPoolExecutor(1) for _ in ("read", "restore", "write")]
        under_way: collections.deque = collections.deque()
        for job in jobs:
            under_way.append((job, self._begin(job, *stages)))
            if len(under_way) == len(stages):
                yield _await(*under_way.popleft())
        while under_way:
            yield _await(*under_way.popleft())

    def restore_bytes(self, data: bytes, name: str, target: pathlib.Path) -> bytes:
        """A file's restored picture as one of its target's format, or its own if that is none."""
        photograph = self._open(data, name)
        picture, *_ = self._restore(photograph.pixels)
        told = target.suffix.lower() in formats.WRITTEN
        suffix = target.suffix if told else photograph.suffix
        return photographs.encode(suffix, picture, photograph, self.settings.quality)

    def _begin(self, job, reader, worker, writer):
        """A job's last stage, a future of facts for its `Outcome`; each awaits the one before."""
        if job.problem or job.done:
            return None
        if job.is_video:
            return worker.submit(self._restore_video, job)
        opened = reader.submit(self._open_source, job)
        made = worker.submit(lambda: self._restore(opened.result().pixels))
        return writer.submit(lambda: self._write(job, opened.result(), *made.result()))

    def _open_source(self, job):
        if job.source == PIPE:
            return self._open(sys.stdin.buffer.read(), "standard input")
        if job.source.exists():
            photographs.check_suffix(job.target)  # before any work
        return self._open(job.source, once=job.overwrites and not self.settings.again)

    def _open(self, source, name=None, once=False):
        photograph = photographs.open_photograph(source, name, self.settings.max_megapixels)
        if once and photographs.is_marked(photograph):
            raise AlreadyRestored("restored already; --again restores it once more", source)
        stripped = self.settings.strip_metadata
        return photographs.strip_metadata(photograph) if stripped else photograph

    def _restore(self, pixels):
        """(picture, share that the check kept, seconds)."""
        begin, settings = time.monotonic(), self.settings
        picture, share = restore_checked(
            self.restore, pixels, settings.check, settings.strength, self.progress
        )
        return picture, share, time.monotonic() - begin

    def _encode(self, photograph, picture):
        suffix = f".{self.settings.format}" if self.settings.format else photograph.suffix
        return suffix, photographs.encode(suffix, picture, photograph, self.settings.quality)

    def _write(self, job, photograph, picture, share, seconds):
        """(what was made, in words, share, seconds)."""
        links = files.describe_links(job.source) if job.overwrites else ""
        if job.target == PIPE:
            suffix, data = self._encode(photograph, picture)
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            suffix = job.target.suffix
            _keep_original(job)
            like = photographs.mark(photograph, suffix) if job.overwrites else photograph
            self._write_file(job.source, job.target, picture, like)
        losses = photographs.describe_losses(suffix, photograph)
        words = [f"{picture.shape[1]}x{picture.shape[0]}", losses, links]
        if job.beside:
            pair = show_side_by_side(photograph.pixels, picture)
            colours = dataclasses.replace(photograph, alpha=None)
            self._write_file(job.source, job.beside, pair, colours)
            words.append(f"side by side in {job.beside}")
        return ", ".join(filter(None, words)), share, seconds

    def _write_file(self, source, target, picture, like):
        with self._keep_time(source, target):
            photographs.write(target, picture, like, self.settings.quality)

    def _restore_video(self, job):
        """Frame by frame; as `_write`."""
        begin, shares, settings = time.monotonic(), [], self.settings
        links = files.describe_links(job.source) if job.overwrites else ""

        def restore_frame(pixels):
            picture, share, _ = self._restore(pixels)
            shares.append(share)
            return picture

        _keep_original(job)
        with self._keep_time(job.source, job.target):
            made = video.restore(
                *(restore_frame, job.source, job.target, settings.quality),
                metadata=not settings.strip_metadata,
                megapixels=settings.max_megapixels,
            )
        made = ", ".join(filter(None, [made, links]))
        return made, sum(shares) / len(shares), time.monotonic() - begin

    @contextlib.contextmanager
    def _keep_time(self, source, target):
        """Gives what is written inside its original's times, if that is wanted."""
        times = os.stat(source) if self.settings.keep_time else None  # before it is overwritten
        yield
        if times:
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def _await(job, future):
    """Waits for a job, and tells what became of it."""
    outcome = Outcome(str(job.source), str(job.target))
    if job.problem:
        outcome.error = f"{job.source}: {job.problem}"
    elif job.done:
        outcome.status = "skipped"
    else:
        try:
            outcome.made, outcome.share_kept, outcome.seconds = future.result()
            outcome.status = "restored"
        except PROBLEMS as error:
            outcome.error = explain(error, job.source)
            if isinstance(error, AlreadyRestored):
                outcome.status = "skipped"
    return outcome


def _keep_original(job):
    """Copies what is about to be replaced, unless that was done before."""
    if job.backup and not job.backup.exists():
        with files.whole(job.backup) as part:
            shutil.copy2(job.source, part)


def show_side_by_side(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Two pictures of one size and type in a row, below words that say which is which."""
    halves = []
    high = max(20, min(before.shape[:2]) // 30)  # the line
    font, scale, thick = cv2.FONT_HERSHEY_SIMPLEX, high * 0.45 / 20, high // 20
    for picture, word in ((before, "before"), (after, "after")):
        line = np.zeros((high, *picture.shape[1:]), np.uint8)
        cv2.putText(line, word, (4, high * 7 // 10), font, scale, (255,) * 3, thick, cv2.LINE_AA)
        line = line * picture.dtype.type(np.iinfo(picture.dtype).max // 255)
        halves.append(np.concatenate([line, picture]))
    return arrays.join_side_by_side(*halves)
