"""Serves a trained network over HTTP, as TensorFlow Serving does, with a page for photographs.

python -m tf_deblur.serve
python -m tf_deblur.serve --model_base_path=exported/compact --model_name=compact
"""

import asyncio
import contextlib
import pathlib
import signal
import tempfile
import types
import typing

from absl import flags

from tf_deblur import devices, errors
from tf_deblur.errors import UserError

if typing.TYPE_CHECKING:
    from tf_deblur.serving.app import App, Options
    from tf_deblur.serving.models import Settings

_BASE_PATH = flags.DEFINE_string(
    "model_base_path",
    None,
    "Serve the versions in this folder, as `tf-deblur export` writes it; the weights that ship if "
    "not given.",
)
_NAME = flags.DEFINE_string(
    "model_name", None, "Call the model this in addresses; by its folder's name if not given."
)
_VERSIONS = flags.DEFINE_string(
    "versions",
    "latest:1",
    "Serve these: latest:N of the highest, all, or numbers with commas between.",
)
_LABELS = flags.DEFINE_list(
    "version_labels", [], "Let versions be called by names too: stable:1,canary:2."
)
_POLL = flags.DEFINE_float(
    "file_system_poll_wait_seconds",
    1,
    "Look at the folder again after this many seconds; never if 0.",
    0,
)
_RETRIES = flags.DEFINE_integer(
    "max_num_load_retries", 5, "Try a version that does not load this many times again.", 0
)
_RETRY_SECONDS = flags.DEFINE_float(
    "load_retry_seconds", 1, "Wait this many seconds before trying again.", 0
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
_TIMEOUT = flags.DEFINE_integer(
    "rest_api_timeout_in_ms",
    30000,
    "Answer a request with 504 after so many milliseconds; never if 0.",
    0,
)
_THREADS = flags.DEFINE_integer("threads", 2, "Run this many graphs at once.", 1)
_QUEUE_SIZE = flags.DEFINE_integer(
    "queue_size", 64, "Take this many predict requests at once; answer more with 429.", 1
)
_QUEUE_MB = flags.DEFINE_float(
    "queue_mb", 512, "Hold at most this many megabytes of their bodies together.", 0
)
_REQUEST_MB = flags.DEFINE_float(
    "max_request_mb", 128, "Answer requests of more megabytes with 413.", 0
)
_MEGAPIXELS = flags.DEFINE_float("max_megapixels", 64, "Refuse pictures of more megapixels.", 0)
_CORS = flags.DEFINE_bool(
    "rest_api_enable_cors_support", False, "Let pages of other hosts use the server."
)
_METRICS = flags.DEFINE_string(
    "metrics_path", "/monitoring/prometheus/metrics", "Let Prometheus read here; nowhere if empty."
)
_BATCHING = flags.DEFINE_bool("enable_batching", False, "Run requests of equal shape together.")
_BATCH = flags.DEFINE_integer("max_batch_size", 16, "Run at most this many pictures together.", 1)
_BATCH_WAIT = flags.DEFINE_integer(
    "batch_timeout_micros", 10000, "Let a picture wait so many microseconds for others.", 0
)
_BATCHES = flags.DEFINE_integer(
    "max_enqueued_batches", 10, "Let this many batches wait; answer more with 503.", 1
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
    try:
        from tf_deblur.serving import app, listening
        from tf_deblur.serving.models import Models
        from tf_deblur.serving.status import Failure
    except ImportError as error:
        raise UserError(f"serve: wants {error.name}; pip install 'tf-deblur[serve]'") from error
    host = listening.find_address(_HOST.value)
    listening.listen(host, _PORT.value)  # said before models are loaded, and asked again after
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(pathlib.Path(folder))
        models = Models([settings], _POLL.value)
        say(f"loading {settings.name} from {settings.base_path}")
        try:
            models.start()
        except Failure as failure:
            raise UserError(failure.message.replace("\n", " ")) from failure
        page = settings.name if _PAGE.value else None
        application = app.App(models, make_options(app), page)
        try:
            asyncio.run(serve(host, listening.listen(host, _PORT.value), application, page))
        finally:
            models.stop()


def make_settings(folder: pathlib.Path) -> "Settings":
    """What is served: the folder that the flags name, or an export of the weights that ship."""
    from tf_deblur.serving.loaded import Loaded
    from tf_deblur.serving.models import Settings

    base = export_shipped(folder) if _BASE_PATH.value is None else pathlib.Path(_BASE_PATH.value)
    if not base.is_dir():
        raise UserError(f"{base}: no such folder; `tf-deblur export` writes one")
    latest, specific = parse_versions(_VERSIONS.value)
    bfloat16 = is_bfloat16()
    return Settings(
        name=_NAME.value or base.resolve().name,
        base_path=base.resolve(),
        latest=latest,
        specific=specific,
        labels=parse_labels(_LABELS.value),
        retries=_RETRIES.value,
        retry_seconds=_RETRY_SECONDS.value,
        load=lambda path: Loaded(path, bfloat16, _TIMEOUT.value / 1000, _WARMUP.value),
    )


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


def parse_versions(text: str) -> tuple[int, tuple[int, ...]]:
    """--versions -> (how many of the highest, these alone); 0 of the highest is all."""
    kind, _, count = text.partition(":")
    if text == "all":
        return 0, ()
    if kind == "latest" and count.isdecimal() and int(count):
        return int(count), ()
    numbers = text.split(",")
    if all(number.isdecimal() for number in numbers):
        return 0, tuple(map(int, numbers))
    raise UserError(f"--versions={text}: use latest:1, all, or numbers such as 1,2")


def parse_labels(pairs: list[str]) -> dict[str, int]:
    """--version_labels -> label: version."""
    named = [pair.rpartition(":") for pair in pairs]
    for label, _, number in named:
        if not label or not number.isdecimal():
            raise UserError(f"--version_labels={','.join(pairs)}: use stable:1,canary:2")
    return {label: int(number) for label, _, number in named}


def make_options(app: types.ModuleType) -> "Options":
    from tf_deblur.serving import batching

    limits = batching.Limits(
        _BATCH.value, _BATCH_WAIT.value, _BATCHES.value, num_batch_threads=_THREADS.value
    )
    return app.Options(
        timeout=_TIMEOUT.value / 1000,
        threads=_THREADS.value,
        queue_size=_QUEUE_SIZE.value,
        queue_mb=_QUEUE_MB.value,
        max_request_mb=_REQUEST_MB.value,
        max_megapixels=_MEGAPIXELS.value,
        cors=_CORS.value,
        metrics_path=_METRICS.value,
        batches=limits if _BATCHING.value else None,
        access_log=app.log if _ACCESS_LOG.value else None,
    )


async def serve(host: str, port: int, application: "App", page: str | None) -> None:
    """Answers requests until a signal comes, then finishes those under way."""
    from tf_deblur.serving import listening

    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with listening.serving(application, host, port):
        place = f"[{host}]" if ":" in host else host
        say(f"serving on http://{place}:{port}{'/' if page else ''}")
        await stop.wait()
        say("stopping: requests under way are finished first")
        for name in (signal.SIGINT, signal.SIGTERM):  # a second one does not wait
            asyncio.get_running_loop().remove_signal_handler(name)
        await application.drain(_DRAIN.value)


def say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever read it has gone; the server stays
        print(line, flush=True)


def cli() -> None:
    errors.run(main)


if __name__ == "__main__":
    cli()
