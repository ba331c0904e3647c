"""A training's folder: what it is, and who trains in it.

flags.flags              the flags as run, a flag file again
run.json                 the networks' architecture; another one is refused
checkpoints/             networks, optimisers, step, seconds, best score: the last few
best/                    the same, where validation scored best
generator.safetensors    the moving average of the generator's weights, the latest
best.safetensors         the same, where validation scored best
logs/, pictures/         TensorBoard scalars, before and after on a validation frame
lock                     held by the process that trains here, for as long as it lives
"""

import fcntl
import json
import pathlib
import typing
from collections.abc import Collection

from tf_deblur.errors import UserError, explain_unwritable
from tf_deblur.files import whole

BEFORE = {"discriminator_filters": 512}  # where a run.json says nothing of it


class Workdir:
    """Opens the folder of a new or an earlier training. Nothing is written before `begin`.

    Args:
      path: the folder; it need not be there.
      architecture: dict that says which networks; a resumed training must have the same.

    Raises:
      UserError: the folder belongs to another architecture, or to something else.
    """

    def __init__(self, path: pathlib.Path | str, architecture: dict):
        self.path, self.architecture = pathlib.Path(path), architecture
        self._lock: typing.TextIO | None = None
        self._check()

    def _check(self):
        description = self.path / "run.json"
        if not description.exists():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise UserError(f"{self.path}: a folder of something else; name a new --workdir")
            return
        try:
            before = BEFORE | json.loads(description.read_text())
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{description}: cannot be read ({error}); name a new --workdir and "
                f"--init_from={self.path}"
            ) from error
        odd = [key for key, value in self.architecture.items() if before.get(key, value) != value]
        if odd:
            raise UserError(
                f"{self.path}: was made with {odd[0]} {before.get(odd[0])}, not "
                f"{self.architecture[odd[0]]}; use the same, or another --workdir"
            )

    def lock(self) -> None:
        """Keeps others out of a folder that is there, until this process ends, however it does.

        Raises:
          UserError: another process trains there.
        """
        if self._lock or not self.path.is_dir():
            return
        self._lock = open(self.path / "lock", "a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{self.path}: another process trains here; wait for it, or name another --workdir"
            ) from None

    def list_changes(self, flag_text: str, ignored: Collection[str] = ()) -> str:
        """The flags that an earlier sitting had otherwise, now and then; empty for none."""
        try:
            texts = flag_text, (self.path / "flags.flags").read_text()
        except (OSError, ValueError):
            return ""
        start = tuple(f"--{name}=" for name in ignored)
        now, then = ([f for f in text.splitlines() if not f.startswith(start)] for text in texts)
        new, old = [f for f in now if f not in then], [f for f in then if f not in now]
        return f"{' '.join(new) or 'none'}; before {' '.join(old) or 'none'}" if new or old else ""

    def begin(self, flag_text: str) -> None:
        """Writes what the training is and the flags as run.

        Raises:
          UserError: the folder cannot be written, or another process began to train there.
        """
        texts = {"run.json": json.dumps(self.architecture, indent=1), "flags.flags": flag_text}
        with explain_unwritable(self.path):
            if not self._lock:
                self.path.mkdir(parents=True, exist_ok=True)
                self.lock()
            for name, text in texts.items():
                with whole(self.path / name) as part:
                    part.write_text(text)
