"""Which versions of which models are served: found by polling, loaded and unloaded meanwhile."""

import dataclasses
import json
import pathlib
import threading

from tf_deblur.serving.loaded import Loaded
from tf_deblur.serving.status import Failure, invalid, not_found

INT64 = 1 << 63


@dataclasses.dataclass
class Settings:
    """A model to serve.

    Attributes:
      name: what URLs call it.
      base_path: the folder of its versions.
      latest: how many of the highest versions are served; 0 is all.
      specific: these versions alone, if any.
      labels: label -> version.
      retries, retry_seconds: how often, and how soon, a load that failed is tried again.
      load: a function of a version's folder that returns it loaded.
    """

    name: str
    base_path: pathlib.Path
    latest: int = 1
    specific: tuple = ()
    labels: dict = dataclasses.field(default_factory=dict)
    retries: int = 0
    retry_seconds: float = 1.0
    load: object = Loaded


@dataclasses.dataclass
class _Version:
    state: str = "START"
    failure: Failure | None = None
    aspired: bool = True
    loaded: object = None


class Model:
    """The versions of one model; `poll` is called by one thread, the rest by any."""

    def __init__(self, settings):
        self.settings = settings
        self._managed = {}  # version -> _Version: loaded, loading, or failed and still wanted
        self._told = {}  # version -> _Version, also those that are gone
        self._stop = threading.Event()

    def poll(self):
        """Looks at the folder once; loads what is new, then unloads what is not wanted."""
        wanted = self._choose_versions()
        if wanted is None:
            return
        managed = self._managed
        if any(number in managed and not managed[number].aspired for number in wanted):
            return  # a version that is kept for want of a better is wanted again: nothing to do
        for number, version in managed.items():
            version.aspired = number in wanted
        new = [number for number in sorted(wanted) if number not in managed]
        self._managed = managed | {number: _Version() for number in new}
        self._told = self._told | {number: self._managed[number] for number in new}
        for number in new:
            self._load(number, wanted[number], self._managed[number])
        self._unload()

    def _choose_versions(self):
        """version -> folder, of those that the policy asks for; None where there is no folder."""
        try:
            found = {int(path.name): path for path in self._folders()}
        except OSError:
            return None
        if self.settings.specific:
            return {number: found[number] for number in self.settings.specific if number in found}
        return {number: found[number] for number in sorted(found)[-self.settings.latest :]}

    def _folders(self):
        for path in sorted(self.settings.base_path.iterdir()):
            digits = path.name.removeprefix("-")
            if digits.isascii() and digits.isdecimal() and -INT64 <= int(path.name) < INT64:
                yield path

    def _load(self, number, path, version):
        for attempt in range(self.settings.retries + 1):
            version.state = "LOADING"
            try:
                if not path.is_dir():
                    name = f"{{name: {self.settings.name} version: {number}}}"
                    what = "Error while attempting to reserve resources to load servable"
                    text = f"{what} {name}: {path}; Not a directory"
                    raise Failure("FAILED_PRECONDITION", text)
                version.loaded = self.settings.load(path)
            except Failure as failure:
                version.failure = failure
                if attempt < self.settings.retries and not self._stop.wait(
                    self.settings.retry_seconds
                ):
                    continue
                version.state = "END"
            else:
                version.state, version.failure = "AVAILABLE", None
            return

    def _unload(self):
        """Drops what is not wanted, unless it is all there is while something is wanted."""
        aspired = [version for version in self._managed.values() if version.aspired]
        replaced = not aspired or any(version.loaded for version in aspired)
        kept = {}
        for number, version in self._managed.items():
            if version.aspired or (version.loaded and not replaced):
                kept[number] = version
            elif version.loaded:
                # requests under way hold the session; with the last of them it goes
                version.loaded, version.state = None, "END"
        self._managed = kept

    def serving(self, version=None, label=None):
        """(number, Loaded) of what answers a request; a Failure where nothing does."""
        name = self.settings.name
        if label is not None:
            version = self.settings.labels.get(label)
            if version is None:
                raise invalid(f"Unrecognized servable version label: {label}")
        held = {number: each.loaded for number, each in self._managed.items() if each.loaded}
        if version is None:
            if not held:
                raise not_found(f"Servable not found for request: Latest({name})")
            return max(held.items(), key=lambda item: item[0])
        if version not in held:
            raise not_found(f"Servable not found for request: Specific({name}, {version})")
        return version, held[version]

    def status(self, version=None):
        """The reply to a status request, as bytes."""
        told = self._told
        if not told:
            raise _none_of(self.settings.name)
        if version is not None and version not in told:
            raise not_found(f"Could not find version {version} of model {self.settings.name}")
        numbers = sorted(told, reverse=True) if version is None else [version]
        reply = {
            "model_version_status": [_describe_version(number, told[number]) for number in numbers]
        }
        return (json.dumps(reply, indent=1) + "\n").encode()

    def failures(self):
        """version -> Failure, of those that could not be loaded."""
        return {
            number: version.failure
            for number, version in self._managed.items()
            if version.failure and version.state == "END"
        }

    def is_ready(self):
        return any(version.loaded for version in self._managed.values())

    def stop(self):
        self._stop.set()


class Models:
    """All models, and the thread that polls their folders."""

    def __init__(self, settings, poll_seconds=1.0):
        self._models = {each.name: Model(each) for each in settings}
        self._seconds = poll_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def names(self):
        return list(self._models)

    def start(self):
        """Loads; returns when every model has a version that serves, and goes on polling.

        Raises:
          Failure: a version could not be loaded.
        """
        for model in self._models.values():
            while not model.is_ready():
                model.poll()
                failed = model.failures()
                if failed and not model.is_ready():
                    raise _not_started(model.settings.name, failed)
                if not model.is_ready() and self._stop.wait(self._seconds or 1):
                    return
        if self._seconds:
            self._thread.start()

    def _poll(self):
        while not self._stop.wait(self._seconds):
            for model in self._models.values():
                model.poll()

    def stop(self):
        self._stop.set()
        for model in self._models.values():
            model.stop()

    def serving(self, name, version=None, label=None):
        if name not in self._models:
            if label is not None:
                raise invalid(f"Unrecognized servable version label: {label}")
            which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise not_found(f"Servable not found for request: {which}")
        return self._models[name].serving(version, label)

    def status(self, name, version=None):
        if name not in self._models:
            if version is not None:
                raise not_found(f"Could not find version {version} of model {name}")
            raise _none_of(name)
        return self._models[name].status(version)


def _none_of(name):
    return not_found(f"Could not find any versions of model {name}")


def _describe_version(number, version):
    failure = version.failure
    code, message = (failure.code, failure.message) if failure else ("OK", "")
    status = {"error_code": code, "error_message": message}
    return {"version": str(number), "state": version.state, "status": status}


def _not_started(name, failed):
    each = "".join(
        f"{{{{name: {name} version: {number}}} due to error: {failure.code}: {failure.message}}}, "
        for number, failure in failed.items()
    )
    count = f"{len(failed)} servable(s) did not become available"
    return Failure("UNKNOWN", f"Failed to start server. Error: UNKNOWN: {count}: {{{each}}}")
