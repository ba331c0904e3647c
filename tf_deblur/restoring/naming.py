"""What a file's results are called: told apart, the same on every run, and not too long."""

import collections
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping

from tf_deblur.pictures import formats, video

ENDING, BESIDE, KEPT = "_restored", "_compare", "_unrestored"
ROOM = 255 - 16  # bytes of a name, which file systems end at 255, before an ending and a suffix


def name_restored(
    path: pathlib.Path,
    format: str | None = None,
    overwrite: bool = False,
    compare: bool = False,
    backup: bool = False,
) -> tuple[str, ...]:
    """What is added to a file's stem for the names of its results: the restored, and beside it."""
    if video.is_video(path):
        suffix, compare = video.choose_suffix(path), False
    else:
        suffix = f".{format}" if format else formats.choose_suffix(path)
    own = suffix == path.suffix and suffix.lower() == find_original(path).suffix.lower()
    overwrite = overwrite and own  # else it may be another's
    names = [f"{'' if overwrite else ENDING}{suffix}"]
    names += [f"{BESIDE}{suffix}"] * compare + [f"{KEPT}{suffix}"] * (overwrite and backup)
    return tuple(names)


def choose_names(
    roots: Mapping[pathlib.Path, pathlib.Path],
    become: Callable,
    output: str | None,
    look: Callable,
) -> dict[pathlib.Path, tuple[pathlib.Path, ...]]:
    """The paths of each file's results; for the files of one folder the same on every run.

    Where two files of a folder would have one result, named or not, those of another format have
    it in their name: IMG_1.heic beside IMG_1.jpg becomes IMG_1_heic_restored.jpg. Where files of
    several folders would within one run, their folder's name comes first.

    Args:
      roots: the folder that each file was found below.
      become: path -> what is added to its stem for the names of its results.
      output: the folder for all; beside the files if None.
      look: folder -> {stem: its pictures that could have results so called}.
    """
    parts = {}
    for source, root in roots.items():
        tails = become(source)
        rivals = look(source.parent).get(_fit(source.stem), ())
        others = {tail for path in rivals if path.suffix != source.suffix for tail in become(path)}
        own = tails[0].endswith(source.suffix)
        stem = source.stem if own or others.isdisjoint(tails) else _tell_apart(source)
        folder = pathlib.Path(output, source.parent.relative_to(root)) if output else source.parent
        parts[source] = folder, _fit(stem), tails
    count = collections.Counter(
        folder / (stem + tails[0]) for folder, stem, tails in parts.values()
    )
    names = {}
    for source, (folder, stem, tails) in parts.items():
        if count[folder / (stem + tails[0])] > 1:
            stem = _fit(f"{pathlib.Path(os.path.abspath(source)).parent.name}_{stem}")
        names[source] = tuple(
            folder / (source.name if tail == source.suffix else stem + tail) for tail in tails
        )
    return names


def _tell_apart(path):
    return f"{path.stem}_{path.suffix[1:]}"


def _fit(stem):
    """A stem as long as a name may have it: cut, with what tells it from others cut so."""
    name = os.fsencode(stem)
    if len(name) <= ROOM:
        return stem
    return f"{name[: ROOM - 9].decode(errors='ignore')}~{hashlib.sha256(name).hexdigest()[:8]}"


def group(paths: Iterable[pathlib.Path]) -> dict[str, list]:
    """{stem: the files whose results may begin so}."""
    found = collections.defaultdict(list)
    for path in paths:
        for stem in (path.stem, _tell_apart(path)):
            found[_fit(stem)].append(path)
    return found


def find_original(path: pathlib.Path | str) -> pathlib.Path:
    """A file, or what a link to it leads to."""
    return pathlib.Path(os.path.realpath(path) if os.path.islink(path) else path)  # or to itself


def find_fault(path: pathlib.Path) -> str | None:
    """Why a file's name alone says that it cannot be read, or None."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    if path.suffix.lower() in formats.RAW and os.path.exists(path):
        return "a raw file; develop it to TIFF or JPEG first, with darktable or RawTherapee, say"
    return None
