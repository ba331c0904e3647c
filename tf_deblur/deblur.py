"""Restores blurred photographs: photo.jpg becomes photo_restored.jpg beside it.

python -m tf_deblur.deblur photo.jpg holiday/ clip.mp4
cat photo.jpg | python -m tf_deblur.deblur - > restored.jpg
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from absl import flags

from tf_deblur import devices, errors
from tf_deblur.errors import UserError
from tf_deblur.pictures import formats
from tf_deblur.restoring import jobs, loading

if TYPE_CHECKING:
    from tf_deblur.restoring import pipeline
    from tf_deblur.restoring.restorer import Restorer

_MODEL = flags.DEFINE_string(
    "model",
    "compact",
    "Restore with this network: a preset, a working directory, a .safetensors file, a SavedModel, "
    "a .tflite file, what others trained (.onnx, .keras, TensorFlow.js), or "
    "http://HOST:8501/v1/models/NAME of TensorFlow Serving.",
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Write the restored photographs into this folder; beside the originals if not given. "
    "Results of an earlier run are replaced, originals never.",
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the originals themselves.")
_AGAIN = flags.DEFINE_bool(
    "again", False, "With --overwrite, restore once more what --overwrite restored before."
)
_BACKUP = flags.DEFINE_bool(
    "backup", False, "With --overwrite, keep each original beside: photo_unrestored.jpg."
)
_SKIP_EXISTING = flags.DEFINE_bool("skip_existing", False, "Leave out what has its result.")
_FILES_FROM = flags.DEFINE_string(
    "files_from",
    None,
    "Restore what this file names too, one a line, or with a zero byte after each as `find "
    "-print0` has it; - reads the names from standard input.",
)
_RECURSIVE = flags.DEFINE_bool("recursive", False, "Look into folders inside folders too.")
_FORMAT = flags.DEFINE_enum(
    "format", None, formats.CHOICES, "Write this format, not the original's."
)
_QUALITY = flags.DEFINE_integer(
    "quality", 95, "Encode JPEG, WebP, AVIF and video in this quality.", 1, 100
)
_STRIP_METADATA = flags.DEFINE_bool(
    "strip_metadata", False, "Drop EXIF, colour profile and other metadata."
)
_COMPARE = flags.DEFINE_bool("compare", False, "Write original and result side by side too.")
_STRENGTH = flags.DEFINE_float(
    "strength", 1, "Blend the original with the result: 0 is the one, 1 the other.", 0, 1
)
_KEEP_TIME = flags.DEFINE_bool(
    "keep_time", False, "Give each result its original's time of modification."
)
_REPORT = flags.DEFINE_string(
    "report", None, "Write what became of each file into this one, a JSON object a line."
)
_CHECK = flags.DEFINE_bool("check", True, "Keep the original where the result cannot be right.")
_MAX_MEGAPIXELS = flags.DEFINE_float(
    "max_megapixels", 150, "Refuse pictures of more megapixels than this.", 0
)
_MEMORY_GB = flags.DEFINE_float(
    "memory_gb",
    None,
    "Let the network take so much memory; tiles are as large as it allows. Half of what is free "
    "if not given, and of a .tflite file that takes any size at most 0.43.",
    0,
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "auto",
    devices.RESTORING,
    "Multiply in this precision; auto takes bfloat16 where the device is faster in it; int8 is for "
    "weights of ours on OpenVINO.",
)
_BACKEND = flags.DEFINE_enum(
    "backend",
    "auto",
    loading.CHOICES,
    "Run a preset or weights on this engine; auto takes OpenVINO where that is installed and no "
    "GPU is there.",
)
_MODEL_FACTS = flags.DEFINE_string(
    "model_facts",
    None,
    'Say what the file of another\'s network does not: JSON such as {"range": [0, 1]}, or a file '
    "of it; docs/reference/networks.md lists the keys.",
)
_THREADS = flags.DEFINE_integer(
    "threads",
    None,
    "Run a .tflite file on so many threads; one for each processor core if not given.",
    1,
)
_ENSEMBLE = flags.DEFINE_enum(
    "ensemble",
    "1",
    ["1", "4", "8"],
    "Restore each picture, or frame, in so many positions, turned and mirrored, and take the mean: "
    "a little better, and as many times as long.",
)
_BEAM_RUNNER = flags.DEFINE_string(
    "beam_runner",
    None,
    "Restore as an Apache Beam pipeline: DirectRunner, DataflowRunner, FlinkRunner or SparkRunner. "
    "Then arguments are patterns, and --output a folder, on any file system that Beam knows.",
)
_BEAM_OPTIONS = flags.DEFINE_list(
    "beam_options", [], "Give Beam these flags of its own, with commas between."
)
_QUIET = flags.DEFINE_bool("quiet", False, "Say nothing but errors.")

LONG = 2  # seconds; what takes longer is told before, and shows a bar
NOT_BY_BEAM = {
    **{"files_from": None, "keep_time": False, "report": None, "backend": "auto"},
    **{"compare": False, "overwrite": False, "skip_existing": False, "recursive": False},
    **{"threads": None, "ensemble": "1", "again": False, "backup": False},
}


def main(argv: list[str]) -> int:
    if runner := _BEAM_RUNNER.value:
        return restore_collection(argv[1:], runner)
    from tf_deblur.restoring import pipeline

    names = argv[1:] + (jobs.read_list(_FILES_FROM.value) if _FILES_FROM.value else [])
    planned = plan(names)
    passed_over = jobs.describe_passed_over(names, _RECURSIVE.value)
    report = open_report()
    restore = load_network()
    begin = time.monotonic()
    counts: collections.Counter[str] = collections.Counter()
    with end_if_interrupted(), show_progress(restore, planned) as progress:
        for outcome in pipeline.Pipeline(restore, read_settings(), progress).run(planned):
            tell(outcome)
            report(outcome)
            counts[outcome.status] += 1
    if len(planned) > 1:
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        took = time.monotonic() - begin
        say(f"{counts['restored']} of {len(planned)} restored{skipped}, in {took:.1f} s")
    if passed_over:
        say(f"passed over: {passed_over}")
    if _COMPARE.value and any(job.is_video and not job.done for job in planned):
        say("passed over: --compare of films, which is for pictures")
    return 1 if counts["failed"] else 0


def restore_collection(patterns: list[str], runner: str) -> int:
    """The same by Apache Beam, on as many machines as its runner has."""
    named = [f"--{name}" for name in NOT_BY_BEAM if flags.FLAGS[name].value != NOT_BY_BEAM[name]]
    if named:
        raise UserError(f"--beam_runner: goes without {', '.join(named)}")
    errors.load_tensorflow()
    try:
        from tf_deblur.restoring import collection
    except ImportError as error:
        raise UserError(
            f"--beam_runner: wants Apache Beam ({error}); pip install 'tf-deblur[beam]'"
        ) from error
    if not patterns or not _OUTPUT.value:
        raise UserError("--beam_runner: name the photographs, and --output, a folder for them")
    network = (_MODEL.value, _PRECISION.value, _MEMORY_GB.value, "auto", None, _MODEL_FACTS.value)
    settings, options = read_settings(), _BEAM_OPTIONS.value
    counts = collection.restore(patterns, _OUTPUT.value, network, settings, runner, options)
    say(", ".join(f"{count} {name}" for name, count in counts.items()))
    return 1 if counts["failed"] else 0


def plan(names: list[str]) -> list[jobs.Job]:
    """A job for each file that is named."""
    if (_AGAIN.value or _BACKUP.value) and not _OVERWRITE.value:
        raise UserError("--again and --backup: are for --overwrite, which is not said")
    return jobs.plan(
        names,
        output=_OUTPUT.value,
        format=_FORMAT.value,
        recursive=_RECURSIVE.value,
        overwrite=_OVERWRITE.value,
        skip_existing=_SKIP_EXISTING.value,
        compare=_COMPARE.value,
        backup=_BACKUP.value,
    )


def open_report() -> Callable:
    """A function that adds to --report at once, so that a run that is killed has told."""
    if not _REPORT.value:
        return lambda outcome: None
    if not _REPORT.value.endswith(".jsonl"):  # or a slip would replace a photograph
        raise UserError(f"--report={_REPORT.value}: call it something.jsonl")

    def write(text, mode="a"):
        try:
            with open(_REPORT.value, mode) as file:
                file.write(text)
        except OSError as error:
            raise UserError(f"{_REPORT.value}: cannot be written ({error.strerror})") from error

    def add(outcome):
        record = dataclasses.asdict(outcome)
        del record["made"]
        if outcome.seconds is not None:
            record["seconds"] = round(outcome.seconds, 3)
        write(json.dumps(record) + "\n")

    write("", mode="w")
    return add


def load_network() -> "Restorer":
    """Opens --model, and says what it runs on."""
    if loading.ENGINES[loading.choose(_MODEL.value, _BACKEND.value)].needs == "tensorflow":
        errors.load_tensorflow()
    restore = loading.load(
        *(_MODEL.value, _PRECISION.value, _MEMORY_GB.value, _BACKEND.value, _THREADS.value),
        _MODEL_FACTS.value,
    )
    if _ENSEMBLE.value != "1":
        from tf_deblur.restoring import ensemble

        restore.say = say
        restore = ensemble.Ensemble(restore, int(_ENSEMBLE.value))
    restore.say = say
    say(f"restoring with {restore}")
    say(restore.describe_tiles())
    return restore


def read_settings() -> "pipeline.Settings":
    """What is done to each picture, by the flags of the same names."""
    from tf_deblur.restoring import pipeline  # OpenCV, which may not start

    fields = dataclasses.fields(pipeline.Settings)
    values: dict = {field.name: flags.FLAGS[field.name].value for field in fields}
    return pipeline.Settings(**values)


@contextlib.contextmanager
def end_if_interrupted() -> Iterator[None]:
    """Ends the process at once on Ctrl-C: the network cannot be stopped inside a tile."""
    try:
        yield
    except KeyboardInterrupt:
        errors.end(130)


@contextlib.contextmanager
def show_progress(restore: "Restorer", planned: list[jobs.Job]) -> Iterator[Callable]:
    """A bar in megapixels on a terminal, with a word before work that takes long.

    Yields:
      A function that is told how many more pixels are done.
    """
    from tqdm import tqdm

    from tf_deblur.restoring import pipeline

    total = sum(map(pipeline.count_pixels, planned))
    if total > 1e6:
        with concurrent.futures.ThreadPoolExecutor(1) as other:  # here Ctrl-C would wait for it
            seconds = total * other.submit(restore.measure_seconds_a_pixel).result()
        if seconds > LONG:
            estimate = tqdm.format_interval(seconds)
            say(f"{total / 1e6:.1f} megapixels in {len(planned)} files: about {estimate}")
    off = True if _QUIET.value else None  # None: where standard error is no terminal
    shape = "{percentage:3.0f}%|{bar:10}| {n:.1f} of {total:.1f} MP, {rate_fmt}, {remaining} left"
    options = {"unit": "MP", "delay": LONG, "leave": False, "bar_format": shape}
    with tqdm(total=total / 1e6, disable=off, **options) as bar:
        yield lambda pixels: bar.update(pixels / 1e6)


def tell(outcome: "pipeline.Outcome") -> None:
    """The line of a file, on standard error if it failed."""
    if outcome.status == "failed":
        errors.say(f"error: {outcome.error}", sys.stderr)
    elif outcome.status == "restored":
        share, because = outcome.share_kept, "where the result could not be right"
        kept = f"; {share:.1%} kept as it was, {because}" if share else ""
        facts = f"{outcome.made}, {outcome.seconds:.1f} s{kept}"
        say(f"{outcome.source} -> {outcome.target} ({facts})")
    elif outcome.error:
        say(outcome.error)


def say(line: str) -> None:
    """A line for the user; on standard error where output is data."""
    if not _QUIET.value:
        piped = jobs.PIPE in sys.argv and _FILES_FROM.value != jobs.PIPE
        errors.say(line, sys.stderr if piped else sys.stdout)


def cli() -> None:
    errors.run(main, tensorflow=False)


if __name__ == "__main__":
    cli()
