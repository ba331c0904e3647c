"""Files and folders that appear whole or not at all, and never in another one's place."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator

TAKEN = "its result would replace another file named here; give it another --output"
_parts: dict = {}  # the folders of what is being written now, and the paths that it is for
_lock = threading.RLock()  # while they come, and while their files take their names


@contextlib.contextmanager
def whole(path: str | os.PathLike, replace: bool = True) -> Iterator[pathlib.Path]:
    """Yields a temporary path that takes the name `path` only on success.

    The body writes a file, or makes a folder, at the path that it is given: inside a folder of
    `tempfile`'s beside `path`, whose name nobody can guess and which nobody else may enter. When
    the body fails, what it wrote is removed and `path` is as it was before. What replaces a file
    or folder has its mode, and its owner and group where that is allowed. A folder that is
    replaced is moved away first, since no file system swaps two; of a link to a folder, it is the
    folder that is replaced.

    Args:
      path: where the file or folder is wanted. Missing parents are made.
      replace: whether what is there gives way. If not, a folder that is not empty stays,
        and OSError is raised.

    Yields:
      A `pathlib.Path` with the same suffix.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock:
        room = pathlib.Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=path.parent))
        _parts[room] = path
    part = room / f"part{path.suffix}"
    try:
        yield part
        if path.exists() and not path.is_symlink():
            _take_place(part, path.stat())
        with _lock:
            if replace and part.is_dir() and path.is_dir():
                path.rename(room / "old")
                part.rename(path)
            else:
                os.replace(part, path)
    finally:
        _discard(room, path)
        _parts.pop(room, None)


def _take_place(part, before):
    """Gives a file or folder the owner and mode of what it replaces; a file is on the disk then."""
    for owner in ((-1, before.st_gid), (before.st_uid, -1)):
        with contextlib.suppress(OSError):  # another's file in a folder of ours
            os.chown(part, *owner)
    if part.stat().st_mode != before.st_mode:
        part.chmod(before.st_mode & 0o777)
    if part.is_file():
        with part.open("rb") as file:
            os.fsync(file.fileno())


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


def describe_links(path: str | os.PathLike) -> str:
    """What a file's other names keep when it is replaced, in words; empty if it has none."""
    others = os.stat(path).st_nlink - 1
    return f"{others} other hard link{'s' * (others > 1)} to it kept as before" if others else ""


def abandon() -> None:
    """Removes everything half-written, for a process that ends at once: nothing appears after."""
    if not _lock.acquire(timeout=5):  # and never released: no other begins or ends a file now
        return  # what is interrupted is about to take its name
    for _ in range(9):  # another thread may be writing still
        for room, path in list(_parts.items()):
            _discard(room, path)


def _discard(room, path):
    """Removes what was written; a folder that was moved away and has no successor comes back."""
    old = room / "old"
    if old.exists() and not path.exists():
        try:
            old.rename(path)
        except OSError:
            return  # better a hidden folder than none
    shutil.rmtree(room, ignore_errors=True)
