"""Which versions of which models are served: found by polling, loaded and unloaded meanwhile."""

import dataclasses
import pathlib
import threading
import traceback
from collections.abc import Callable

from tf_deblur.serving.loaded import Loaded
from tf_deblur.serving.status import Failure, not_found

INT64 = 1 << 63


@dataclasses.dataclass
class Settings:
    """A model to serve.

    Attributes:
      name: what URLs call it.
      base_path: the folder of its versions.
      latest: how many of the highest versions are served; 0 is all.
      load: a function of a version's folder that returns it loaded.
    """

    name: str
    base_path: pathlib.Path
    latest: int = 1
    load: Callable = Loaded


@dataclasses.dataclass
class _Version:
    """A version that is loaded or loading, or failed; `contents` is what its folder held then."""

    contents: frozenset
    state: str = "LOADING"
    failure: Failure | None = None
    loaded: Loaded | None = None


class Model:
    """The versions of one model; `poll` is called by one thread, the rest by any."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._versions: dict[int, _Version] = {}  # those that are wanted, or still answer
        self._gone: dict[int, _Version] = {}

    def poll(self) -> None:
        """Looks at the folder once; loads what is new or was changed, drops what is not wanted."""
        try:
            found = {int(path.name): path for path in self._list_folders()}
        except OSError:
            return  # the folder is away: what is loaded stays
        wanted = sorted(found)[-self.settings.latest :]
        for number in wanted:
            known = self._versions.get(number)
            if known and known.loaded:
                continue
            contents = _list_contents(found[number])
            if not known or known.contents != contents:  # one that failed may be whole by now
                self._versions = {**self._versions, number: _Version(contents)}
                self._load(found[number], self._versions[number])
        self._drop(wanted)

    def _list_folders(self):
        for path in sorted(self.settings.base_path.iterdir()):
            digits = path.name.removeprefix("-")
            if digits.isascii() and digits.isdecimal() and -INT64 <= int(path.name) < INT64:
                yield path

    def _load(self, path, version):
        try:
            version.loaded = self.settings.load(path)
            version.state = "AVAILABLE"
        except Failure as failure:
            version.failure, version.state = failure, "END"
        except Exception as error:  # a folder that may not be read, memory that lacks
            version.failure, version.state = Failure("UNKNOWN", f"{path}: {error}"), "END"

    def _drop(self, wanted):
        """Drops what is not wanted, unless it is all there is while something is wanted."""
        versions = self._versions
        if wanted and not any(versions[number].loaded for number in wanted):
            return
        self._versions = {number: versions[number] for number in wanted}
        for number in versions.keys() - set(wanted):
            # requests under way hold the session; with the last of them it goes
            versions[number].loaded, versions[number].state = None, "END"
            self._gone = {**self._gone, number: versions[number]}

    def find(self, version: int | None = None) -> tuple[int, Loaded]:
        """(number, Loaded) of what answers a request; a Failure where nothing does."""
        held = {number: each.loaded for number, each in self._versions.items() if each.loaded}
        if not held or version not in (None, *held):
            name = f"model {self.settings.name}"
            raise not_found(f"{name} has no version {version or ''} that is loaded")
        number = max(held) if version is None else version
        return number, held[number]

    def describe(self, version: int | None = None) -> dict:
        """The reply to a status request."""
        told = self._gone | self._versions
        if not told or version not in (None, *told):
            raise not_found(f"Could not find version {version or ''} of {self.settings.name}")
        numbers = sorted(told, reverse=True) if version is None else [version]
        return {
            "model_version_status": [_describe_version(number, told[number]) for number in numbers]
        }

    def tell_what_lies_there(self) -> str:
        """Why a folder has no version, in words."""
        base = self.settings.base_path
        held = sorted(path.name for path in base.iterdir())
        text = f"{base}: no versions in it, folders called 1, 2, …; it holds "
        text += ", ".join(held[:5]) + (", …" if held[5:] else "") if held else "nothing"
        for name in held:
            if any((base / name).glob("[0-9]*/saved_model.pb*")):
                return f"{text}: use --model_base_path={base / name}"
        return f"{text}; `tf-deblur export` writes a folder of versions"

    def get_failure(self) -> Failure | None:
        """Why the newest version that could not be loaded could not."""
        failed = [each.failure for each in self._versions.values() if each.failure]
        return failed[-1] if failed else None


class Models:
    """All models, and the thread that polls their folders."""

    def __init__(self, settings: list[Settings], poll_seconds: float = 1.0):
        self._models = {each.name: Model(each) for each in settings}
        self._seconds = poll_seconds
        self._stop = threading.Event()

    def list_names(self) -> list[str]:
        return list(self._models)

    def start(self) -> None:
        """Loads; returns when every model has a version that serves, and goes on polling.

        Raises:
          Failure: a folder has no version, or one that could not be loaded.
        """
        for model in self._models.values():
            model.poll()
            if not self.is_ready(model):
                raise model.get_failure() or not_found(model.tell_what_lies_there())
        if self._seconds:
            threading.Thread(target=self._poll, daemon=True).start()

    @staticmethod
    def is_ready(model: Model) -> bool:
        try:
            return bool(model.find())
        except Failure:
            return False

    def are_ready(self) -> bool:
        return all(map(self.is_ready, self._models.values()))

    def _poll(self):
        while not self._stop.wait(self._seconds):
            for model in self._models.values():
                try:
                    model.poll()
                except Exception:  # whatever it was, the next look may find it better
                    traceback.print_exc()

    def stop(self) -> None:
        self._stop.set()

    def get(self, name: str) -> Model:
        if name not in self._models:
            raise not_found(f"No model {name} is served; there are {', '.join(self._models)}")
        return self._models[name]


def _list_contents(path):
    """What lies in a version's folder, by names, sizes and times: less of it may be read."""
    try:
        told = [(str(each), each.lstat()) for each in [path, *path.rglob("*")]]
    except OSError as error:
        return frozenset([str(error)])
    return frozenset((name, each.st_size, each.st_mtime_ns, each.st_mode) for name, each in told)


def _describe_version(number, version):
    failure = version.failure
    code, message = (failure.code, failure.message) if failure else ("OK", "")
    status = {"error_code": code, "error_message": message}
    return {"version": str(number), "state": version.state, "status": status}
