"""Serves a trained network over HTTP, as TensorFlow Serving does, with a page for photographs.

python -m tf_deblur.serve
python -m tf_deblur.serve --model_base_path=exported/compact --model_name=compact
"""

import asyncio
import contextlib
import ctypes
import ipaddress
import os
import pathlib
import signal
import socket
import sys
import tempfile
import types
import typing
from collections.abc import Callable

from absl import flags

from tf_deblur import devices, errors
from tf_deblur.errors import UserError

if typing.TYPE_CHECKING:
    from tf_deblur.serving.app import App, Options
    from tf_deblur.serving.models import Settings

M_ARENA_MAX = -8  # of malloc.h

_BASE_PATHS = flags.DEFINE_list(
    "model_base_path",
    [],
    "Serve the versions in this folder, as `tf-deblur export` writes it, or in several with "
    "commas between; the weights that ship if not given.",
)
_NAMES = flags.DEFINE_list(
    "model_name", [], "Call the models this in addresses; by their folders' names if not given."
)
_VERSIONS = flags.DEFINE_integer(
    "versions", 1, "Serve so many of the highest versions; all if 0.", 0
)
_POLL = flags.DEFINE_float(
    "file_system_poll_wait_seconds",
    1,
    "Look at the folders again after this many seconds; never if 0.",
    0,
)
_WARMUP = flags.DEFINE_bool(
    "enable_model_warmup", True, "Run a version's warm-up requests before it answers."
)
_PORT = flags.DEFINE_integer(
    "rest_api_port", 8501, "Listen on this port; on a free one if 0, and say which.", 0, 65535
)
_HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "Listen on this address; 0.0.0.0 lets other machines in: nobody is asked who they are.",
)
_ALLOWED_HOSTS = flags.DEFINE_list(
    "allowed_hosts",
    [],
    "Answer requests to these names; on this machine's own address to localhost alone if not "
    "given, on others to any.",
)
_CORS = flags.DEFINE_list(
    "cors", [], "Let pages of these origins use the server, such as https://example.org; * for any."
)
_TIMEOUT = flags.DEFINE_integer(
    "rest_api_timeout_in_ms",
    300_000,
    "Answer a request with 504 after so many milliseconds; never if 0. Two pictures of "
    "--max_megapixels at once take half of the default on two cores.",
    0,
)
_THREADS = flags.DEFINE_integer("threads", 2, "Work on this many requests at once.", 1)
_QUEUE_SIZE = flags.DEFINE_integer(
    "queue_size", 64, "Let this many predict requests wait; answer more with 429.", 1
)
_QUEUE_MB = flags.DEFINE_float(
    "queue_mb", 512, "Hold at most this many megabytes of their bodies together.", 0
)
_REQUEST_MB = flags.DEFINE_float(
    "max_request_mb", 128, "Answer requests of more megabytes, also unpacked, with 413.", 0
)
_MEGAPIXELS = flags.DEFINE_float(
    "max_megapixels", 64, "Refuse requests whose pictures have more megapixels together.", 0
)
_METRICS = flags.DEFINE_string(
    "metrics_path", "/monitoring/prometheus/metrics", "Let Prometheus read here; nowhere if empty."
)
_PAGE = flags.DEFINE_bool("page", True, "Show a page for photographs at /.")
_ACCESS_LOG = flags.DEFINE_bool(
    "access_log", True, "Write a line of JSON for each request, on standard error."
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "auto",
    devices.PRECISIONS,
    "Multiply in this precision; auto takes bfloat16 where the device is faster in it.",
)
_DRAIN = flags.DEFINE_float(
    "shutdown_seconds",
    60,
    "Let requests under way take so many seconds when the server is stopped.",
    0,
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise UserError(f"{argv[1]}: not a flag; serve takes flags only")
    keep_memory_in_one_place()
    try:
        from tf_deblur.serving import listening

        bound = listening.bind(_HOST.value, _PORT.value)  # ours from here on; opens with the models
        errors.load_tensorflow()
        from tf_deblur.serving import app
        from tf_deblur.serving.models import Models
        from tf_deblur.serving.status import Failure
    except ImportError as error:
        raise UserError(f"serve: wants {error.name}; pip install 'tf-deblur[serve]'") from error
    with bound, tempfile.TemporaryDirectory() as folder:
        settings = make_settings(pathlib.Path(folder))
        models = Models(settings, _POLL.value)
        for each in settings:
            say(f"loading {each.name} from {each.base_path}")
        try:
            models.start()
        except Failure as failure:
            raise UserError(failure.message.replace("\n", " ")) from failure
        page = settings[0].name if _PAGE.value else None
        application = app.App(models, make_options(app, bound.getsockname()[0]), page)
        asyncio.run(serve(bound, application, page))
        models.stop()
    if application.busy:  # after its time: a thread cannot be ended, the process can
        sys.stdout.flush()
        os._exit(0)


def keep_memory_in_one_place() -> None:
    """One heap for all threads: glibc's one for each keeps what large requests leave there."""
    with contextlib.suppress(AttributeError, OSError):  # another libc than Linux's usual one
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def make_settings(folder: pathlib.Path) -> "list[Settings]":
    """What is served: the folders that the flags name, or an export of the weights that ship."""
    from tf_deblur.serving.loaded import Loaded
    from tf_deblur.serving.models import Settings

    bases = [pathlib.Path(path) for path in _BASE_PATHS.value] or [export_shipped(folder)]
    for base in bases:
        if not base.is_dir():
            raise UserError(f"{base}: no such folder; `tf-deblur export` writes one")
    names = _NAMES.value or [base.resolve().name for base in bases]
    if len(names) != len(bases) or len(set(names)) < len(names):
        raise UserError(f"--model_name={','.join(names)}: name each of the {len(bases)} otherwise")
    bfloat16 = is_bfloat16()
    return [
        Settings(
            name=name,
            base_path=base.resolve(),
            latest=_VERSIONS.value,
            load=lambda path: Loaded(path, bfloat16, _TIMEOUT.value / 1000, _WARMUP.value),
        )
        for name, base in zip(names, bases)
    ]


def export_shipped(folder: pathlib.Path) -> pathlib.Path:
    """Exports `compact`; returns the folder of its versions."""
    from tf_deblur.export import describe, saved_model
    from tf_deblur.models import weights

    say("exporting compact, the weights that ship")
    with devices.make_layers_in("float32"):
        model = weights.load("compact")
    return saved_model.write(model, describe(model, "compact"), folder).parent


def is_bfloat16() -> bool:
    """Whether graphs multiply in bfloat16; says why. On a GPU they run as they were exported."""
    if devices.list_gpus():
        return False
    precision, why = devices.choose_precision(_PRECISION.value)
    say(f"running on {devices.name_device()} in {precision} ({why})")
    return precision == "bfloat16"


def make_options(app: types.ModuleType, address: str) -> "Options":
    own = ipaddress.ip_address(address).is_loopback
    hosts = (*app.LOOPBACK, address) if own else ("*",)
    return app.Options(
        timeout=_TIMEOUT.value / 1000,
        threads=_THREADS.value,
        queue_size=_QUEUE_SIZE.value,
        queue_mb=_QUEUE_MB.value,
        max_request_mb=_REQUEST_MB.value,
        max_megapixels=_MEGAPIXELS.value,
        allowed_hosts=[name.lower() for name in _ALLOWED_HOSTS.value] or hosts,
        cors=_CORS.value,
        metrics_path=_METRICS.value,
        access_log=make_log() if _ACCESS_LOG.value else None,
    )


def make_log() -> Callable[[str], None]:
    """A writer of lines on standard error as it is now: readers of pictures take it away."""
    file = open(os.dup(2), "w", buffering=1, encoding="utf-8")

    def log(line):
        with contextlib.suppress(BrokenPipeError):  # whoever read it has gone; the server stays
            file.write(f"{line}\n")

    return log


async def serve(bound: socket.socket, application: "App", page: str | None) -> None:
    """Answers requests until a signal comes, then finishes those under way."""
    from tf_deblur.serving import listening

    stop = asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    for name in signals:
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with listening.serve(application, bound, _DRAIN.value):
        host, port = bound.getsockname()[:2]
        place = f"[{host}]" if ":" in host else host
        say(f"serving on http://{place}:{port}{'/' if page else ''}")
        await stop.wait()
        say("stopping: requests under way are finished first")
        for name in signals:  # a second one does not wait
            asyncio.get_running_loop().remove_signal_handler(name)
        await application.drain()


def say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever read it has gone; the server stays
        print(line, flush=True)


def cli() -> None:
    errors.run(main, tensorflow=False)


if __name__ == "__main__":
    cli()
