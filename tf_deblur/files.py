"""Files and folders that appear whole or not at all, and never in another one's place."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator

TAKEN = "its result would replace another file named here; run it by itself"
_parts: set = set()  # what is being written now


@contextlib.contextmanager
def whole(path: str | os.PathLike, replace: bool = True) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path` that takes its name only on success.

    The body writes a file, or makes a folder, at the path that it is given. When
    the body fails, what it wrote is removed and `path` is as it was before. A
    folder that is replaced is moved away first, since no file system swaps two.

    Args:
      path: where the file or folder is wanted. Missing parents are made.
      replace: whether what is there gives way. If not, a folder that is not empty stays,
        and OSError is raised.

    Yields:
      A `pathlib.Path` in the same folder, with the same suffix.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    _parts.add(part)
    try:
        yield part
        if replace and part.is_dir() and path.is_dir():
            old = path.with_name(part.name + ".old")
            path.rename(old)
            part.rename(path)
            shutil.rmtree(old)
        else:
            os.replace(part, path)
    finally:
        _discard(part)


class Claims:
    """Which files a run may write: none twice, and none of those that it was given.

    Args:
      originals: paths of the files that it was given.
    """

    def __init__(self, originals):
        self._originals = {os.path.realpath(path) for path in originals}
        self._taken = set()

    def take(self, paths: Iterable, replaced: Iterable = ()) -> bool:
        """Whether the files may be written; if so, they are taken from then on.

        Args:
          paths: of the results.
          replaced: originals that they may replace.
        """
        wanted, own = ({os.path.realpath(path) for path in them} for them in (paths, replaced))
        if wanted & (self._taken | self._originals - own):
            return False
        self._taken |= wanted
        return True


def abandon() -> None:
    """Removes everything half-written, for a process that ends at once."""
    for part in list(_parts):
        _discard(part)


def _discard(part):
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink(missing_ok=True)
    _parts.discard(part)
