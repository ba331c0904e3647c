"""Which files are restored, and what each becomes; planned before anything is done."""

import dataclasses
import glob
import os
import pathlib
import sys

from tf_deblur.errors import UserError
from tf_deblur.files import TAKEN, Claims
from tf_deblur.pictures import formats, video

PIPE = "-"  # standard input, and then standard output
ENDING, BESIDE = "_restored", "_compare"


@dataclasses.dataclass
class Job:
    """One file to restore.

    Attributes:
      source, target: paths, or `PIPE`.
      beside: where original and result go side by side; None if nobody asked.
      problem: why it cannot be done, or None.
      done: whether its result is there, and the user wants that left alone.
      is_video: whether it is one, by its name.
    """

    source: pathlib.Path | str
    target: pathlib.Path | str
    beside: pathlib.Path | None = None
    problem: str | None = None
    done: bool = False

    @property
    def is_video(self) -> bool:
        return isinstance(self.source, pathlib.Path) and video.is_video(self.source)


def plan(
    names: list[str],
    *,
    output: str | None = None,
    format: str | None = None,
    recursive: bool = False,
    overwrite: bool = False,
    skip_existing: bool = False,
    compare: bool = False,
) -> list[Job]:
    """A job for each file that the arguments name: files, folders, patterns, or `-`.

    No job replaces another one's result, nor an original other than its own.

    Args:
      names: as the user gave them.
      output: folder for the results; beside the originals if None.
      format: suffix of the results without its dot; the originals' if None.
      recursive: whether folders inside folders count.
      overwrite: whether a result takes its original's place.
      skip_existing: whether what has its result is left out.
      compare: whether original and result are written side by side too.

    Raises:
      UserError: no names, or options that contradict each other.
    """
    if not names:
        raise UserError("no photograph named; say for instance: tf-deblur deblur photo.jpg")
    if overwrite and skip_existing:
        raise UserError("--overwrite and --skip_existing: every original has its result already")
    if PIPE in names:
        if len(names) > 1 or output or compare:
            raise UserError("-: is standard input, and goes alone; without --output and --compare")
        return [Job(PIPE, PIPE)]
    found = {}
    for name in names:
        for source, *facts in find_sources(pathlib.Path(name), recursive):
            found[source] = facts
    jobs, claims = [], Claims(found)
    for source, (root, problem) in found.items():
        job = _plan_one(source, root, output, format, overwrite, compare)
        job.done = skip_existing and exists(job.target)
        job.problem = problem or _find_fault(source)
        results = [path for path in (job.target, job.beside) if path]
        if not claims.take(results, replaced=[source] if overwrite else []):
            job.problem = TAKEN
        jobs.append(job)
    return jobs


def _find_fault(path):
    """Why libraries cannot be told a file's name, or None."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"


def read_list(path: str | os.PathLike) -> list[str]:
    """The names in a list of files: one a line, or each with a zero byte behind it.

    Args:
      path: of the list; `PIPE` for standard input.

    Returns:
      The names, as strings.

    Raises:
      UserError: it cannot be read, or names nothing.
    """
    try:
        data = sys.stdin.buffer.read() if path == PIPE else pathlib.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    names = data.split(b"\0") if b"\0" in data else data.splitlines()
    found = [os.fsdecode(name) for name in names if name]
    if not found:
        raise UserError(f"{'standard input' if path == PIPE else path}: names no file")
    if PIPE in found:
        raise UserError(f"{path}: -, standard input, is no name for a list")
    return found


def _plan_one(source, root, output, format, overwrite, compare):
    suffix = f".{format}" if format else formats.choose_suffix(source)
    film = video.is_video(source)
    if film:
        suffix = video.choose_suffix(source)
    folder = pathlib.Path(output) / source.parent.relative_to(root) if output else source.parent
    replaced = overwrite and not output and suffix == source.suffix  # else it may be another's
    ending = "" if replaced else ENDING
    beside = folder / f"{source.stem}{BESIDE}{suffix}" if compare and not film else None
    return Job(source, folder / f"{source.stem}{ending}{suffix}", beside)


def find_sources(path: pathlib.Path, recursive: bool) -> list[tuple]:
    """(file, the folder it was found below, problem or None) for all that one argument means."""
    if not exists(path) and glob.has_magic(str(path)):
        matches = map(pathlib.Path, sorted(glob.glob(str(path), recursive=True)))
        found = [place for match in matches for place in find_sources(match, recursive)]
        return found or [(path, path.parent, "no file is named so")]
    if exists(path) and path.is_dir():
        found = _find_below(path, recursive)
        return found or [(path, path.parent, "no pictures in it (folders in it: --recursive)")]
    return [(path, path.parent, None)]


def _find_below(path, recursive):
    """Pictures and videos in a folder, without those that this command has made."""
    wanted = {*formats.READ, *video.SUFFIXES}
    found, seen = [], set()

    def unreadable(error):
        found.append((pathlib.Path(error.filename), path, f"cannot be read ({error.strerror})"))

    for folder, inside, names in os.walk(path, followlinks=True, onerror=unreadable):
        inside[:] = [name for name in sorted(inside) if recursive and not name.startswith(".")]
        identity = os.path.realpath(folder)
        if identity in seen:  # a link that leads back
            inside.clear()
            continue
        seen.add(identity)
        for file in (pathlib.Path(folder, name) for name in sorted(names)):
            made = file.stem.endswith((ENDING, BESIDE))
            if file.suffix.lower() in wanted and not made and not file.name.startswith("."):
                found.append((file, path, None))
    return found


def exists(path: pathlib.Path) -> bool:
    """Whether a file is there; no for a name too long, or a folder that may not be searched."""
    try:
        return path.exists()
    except OSError:
        return False
