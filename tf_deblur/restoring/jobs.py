"""Which files a command takes, and what each becomes; planned before anything is done.

For `deblur`, `blur` and Beam's collections alike.
"""

import collections
import dataclasses
import functools
import glob
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Collection

from tf_deblur.errors import UserError
from tf_deblur.files import TAKEN, Claims
from tf_deblur.pictures import formats, video
from tf_deblur.restoring import naming

PIPE = "-"  # standard input, and then standard output
WANTED = *formats.READ, *video.SUFFIXES


@dataclasses.dataclass
class Job:
    """One file to do.

    Attributes:
      source: a path, or `PIPE`.
      results: the paths of what is made of it, the one that it is done for first.
      problem: why it cannot be done, or None.
      done: whether its result is there and the user wants that left alone, or it is a result,
        or another job does the same.
    """

    source: pathlib.Path | str
    results: tuple
    problem: str | None = None
    done: bool = False

    @property
    def target(self) -> pathlib.Path | str:
        return self.results[0]

    @property
    def beside(self) -> pathlib.Path | None:
        """Where original and result go side by side; None if nobody asked."""
        return self._find_result(naming.BESIDE)

    @property
    def backup(self) -> pathlib.Path | None:
        """Where the original is kept; None if nobody asked, or it is not replaced."""
        return self._find_result(naming.KEPT)

    def _find_result(self, ending):
        return next((path for path in self.results[1:] if path.stem.endswith(ending)), None)

    @property
    def is_video(self) -> bool:
        """Whether it is one, by its name."""
        return self.source != PIPE and video.is_video(self.source)

    @property
    def overwrites(self) -> bool:
        """Whether the result takes its original's place."""
        return self.source != PIPE and self.target == naming.find_original(self.source)


def plan(
    names: list[str],
    *,
    output: str | None = None,
    format: str | None = None,
    recursive: bool = False,
    overwrite: bool = False,
    skip_existing: bool = False,
    compare: bool = False,
    backup: bool = False,
) -> list[Job]:
    """A job for each file to restore that the arguments name: files, folders, patterns, or `-`.

    Args:
      names: as the user gave them.
      output: folder for the results; beside the originals if None.
      format: suffix of the results without its dot; the originals' if None.
      recursive: whether folders inside folders count.
      overwrite: whether a result takes its original's place.
      skip_existing: whether what has its result is left out, and so are results that are named.
      compare: whether original and result are written side by side too.
      backup: whether an original whose place is taken is kept beside.

    Raises:
      UserError: no names, or options that contradict each other.
    """
    if overwrite and skip_existing:
        raise UserError("--overwrite and --skip_existing: every original has its result already")
    if overwrite and output:
        raise UserError("--overwrite and --output: results go to one place, not to two")
    if PIPE in names:
        if len(names) > 1 or output or compare:
            raise UserError("-: is standard input, and goes alone; without --output and --compare")
        return [Job(PIPE, (PIPE,))]
    return plan_all(
        names,
        functools.partial(
            naming.name_restored,
            format=format,
            overwrite=overwrite,
            compare=compare,
            backup=backup,
        ),
        endings=(naming.ENDING, naming.BESIDE, naming.KEPT),
        wanted=WANTED,
        output=output,
        recursive=recursive,
        skip_existing=skip_existing,
    )


def plan_all(
    names: list[str],
    become: Callable,
    *,
    endings: tuple[str, ...],
    wanted: Collection[str],
    output: str | None = None,
    recursive: bool = False,
    skip_existing: bool = False,
    spared: Collection[str] = (),
) -> list[Job]:
    """A job for each file that the arguments name.

    No job replaces another one's result, nor an original other than its own.

    Args:
      names, output, recursive, skip_existing: as `plan`'s.
      become: path -> what is added to its stem for the names of its results.
      endings: by which results of the command are known in a folder, the main one first.
      wanted: suffixes of the files that are looked for in a folder.
      spared: more files that no result may replace.

    Raises:
      UserError: no names, or an empty one.
    """
    refuse_empty(names, output)
    if output and pathlib.Path(output).suffix.lower() in WANTED and not os.path.isdir(output):
        folder = os.path.dirname(output) or "."
        raise UserError(f"--output={output}: results go into a folder; --output={folder}, say")
    found = {}
    for name in names:
        for source, *facts in find_sources(pathlib.Path(name), recursive, wanted):
            found[source] = facts
    look = functools.cache(functools.partial(_list_pictures, wanted=wanted))
    jobs = {
        source: Job(source, (source,), done=True)
        for source, (_, _, listed) in found.items()
        if (listed or skip_existing) and _is_result(source, listed, look(source.parent), endings)
    }
    roots = {source: root for source, (root, *_) in found.items() if source not in jobs}
    claims, taken = Claims([*roots, *spared]), set()
    for source, results in naming.choose_names(roots, become, output, look).items():
        own = [source] if results[0] == source else []
        job = Job(source, (naming.find_original(source), *results[1:]) if own else results)
        job.problem = found[source][1] or naming.find_fault(source)
        job.done = skip_existing and exists(results[0])
        both = os.path.realpath(source), os.path.realpath(results[0])
        if both in taken:  # named twice, or by a link beside it
            job.done = True
        elif not claims.take(job.results, replaced=own):
            job.problem = job.problem or TAKEN
        elif not job.problem:
            taken.add(both)
        jobs[source] = job
    return [jobs[source] for source in found]


def refuse_empty(names: Collection[str], output: str | None) -> None:
    """UserError for no names, and for empty ones, which would mean the folder we are in."""
    if not names:
        raise UserError("no photograph named; name files, folders or patterns: photo.jpg, say")
    if "" in names or output == "":
        where = "--output=" if output == "" else "an argument"
        raise UserError(f"{where}: is empty, as of a shell's variable that is not set")


def _list_pictures(folder, wanted):
    """{stem: the pictures in a folder whose results may begin so}."""
    try:
        paths = [folder / name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return {}
    return naming.group(path for path in paths if path.suffix.lower() in wanted)


def _is_result(path, listed, pictures, endings):
    """Whether an earlier run made a file: its name says so, and its original lies beside it.

    Of what is `listed`, found in a folder, the main ending is enough: the folder may be --output.
    """
    stems = [path.stem.removesuffix(end) for end in endings if path.stem.endswith(end)]
    beside = any(stem in pictures or stem + endings[0] in pictures for stem in stems)
    return beside or listed and path.stem.endswith(endings[0])


def read_list(path: str | os.PathLike) -> list[str]:
    """The names in a list of files: one a line, or each with a zero byte behind it.

    UserError if it cannot be read, or names nothing; `PIPE` is standard input.
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


def find_sources(path: pathlib.Path, recursive: bool, wanted: Collection[str]) -> list[tuple]:
    """All that one argument means.

    Returns:
      For each (file, the folder it was found below, problem or None, whether it was in a folder).
    """
    found, problem = [], None
    if exists(path) and path.is_dir():
        found = _find_below(path, recursive, wanted)
        problem = "no pictures in it (folders in it: --recursive)"
    elif not exists(path) and glob.has_magic(str(path)):
        matches = map(pathlib.Path, sorted(glob.glob(str(path), recursive=True)))
        found = [each for match in matches for each in find_sources(match, recursive, wanted)]
        problem = "no file is named so"
    return found or [(path, path.parent, problem, False)]


def describe_passed_over(names: list[str], recursive: bool) -> str:
    """What else lies in the folders that are named, in words; empty for nothing."""
    counts: collections.Counter[str] = collections.Counter()
    known = [[name] if os.path.exists(name) else glob.glob(name, recursive=True) for name in names]
    for _, inside, files in itertools.chain.from_iterable(map(os.walk, sum(known, []))):
        seen = [name for name in inside if not name.startswith(".")]
        inside[:] = seen if recursive else []
        counts["folders {} (--recursive takes them)"] += len(seen) - len(inside)
        suffixes = [pathlib.Path(name).suffix.lower() for name in files if name[0] != "."]
        raw = sum(suffix in formats.RAW for suffix in suffixes)
        counts["raw files {} (develop them first)"] += raw
        counts["other files {}"] += sum(suffix not in WANTED for suffix in suffixes) - raw
    return ", ".join(words.format(count) for words, count in counts.items() if count)


def _find_below(path, recursive, wanted):
    """The files in a folder that end as is wanted."""
    found, seen = [], set()

    def unreadable(error):
        problem = f"cannot be read ({error.strerror})"
        found.append((pathlib.Path(error.filename), path, problem, False))

    for folder, inside, names in os.walk(path, followlinks=True, onerror=unreadable):
        inside[:] = [name for name in sorted(inside) if recursive and not name.startswith(".")]
        identity = os.path.realpath(folder)
        if identity in seen:  # a link that leads back
            inside.clear()
            continue
        seen.add(identity)
        for file in (pathlib.Path(folder, name) for name in sorted(names)):
            if file.suffix.lower() in wanted and not file.name.startswith("."):
                found.append((file, path, None, True))
    return found


def exists(path: pathlib.Path) -> bool:
    """Whether a file is there; no for a name too long, or a folder that may not be searched."""
    try:
        return path.exists()
    except OSError:
        return False
