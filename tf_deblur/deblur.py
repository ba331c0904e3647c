"""Restores blurred photographs: photo.jpg becomes photo_restored.jpg beside it.

python -m tf_deblur.deblur photo.jpg holiday/ clip.mp4
cat photo.jpg | python -m tf_deblur.deblur - > restored.jpg
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import sys
import time

from absl import flags

from tf_deblur import errors
from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import formats
from tf_deblur.restoring.jobs import ENDING, PIPE

_MODEL = flags.DEFINE_string(
    "model",
    "compact",
    "A preset, a working directory, a .safetensors file, a SavedModel, a .tflite file, or "
    "http://HOST:8501/v1/models/NAME of TensorFlow Serving.",
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder for the restored photographs; beside the originals if not given. "
    "Results of an earlier run are replaced, originals never.",
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the originals themselves.")
_SKIP_EXISTING = flags.DEFINE_bool("skip_existing", False, "Leave out what has its result.")
_FILES_FROM = flags.DEFINE_string(
    "files_from",
    None,
    "Restore what this file names too, one a line, or with a zero byte after each as `find "
    "-print0` has it; - reads the names from standard input.",
)
_RECURSIVE = flags.DEFINE_bool("recursive", False, "Folders inside folders too.")
_FORMAT = flags.DEFINE_enum(
    "format", None, formats.CHOICES, "Write this, not the original's format."
)
_QUALITY = flags.DEFINE_integer("quality", 95, "Of JPEG, WebP, AVIF and video.", 1, 100)
_STRIP_METADATA = flags.DEFINE_bool("strip_metadata", False, "Drop EXIF, profile and the like.")
_COMPARE = flags.DEFINE_bool("compare", False, "Write original and result side by side too.")
_STRENGTH = flags.DEFINE_float("strength", 1, "Blends the original, 0, with the result, 1.", 0, 1)
_KEEP_TIME = flags.DEFINE_bool("keep_time", False, "Results keep their originals' times.")
_REPORT = flags.DEFINE_string(
    "report", None, "Write what became of each file into this one, a JSON object a line."
)
_CHECK = flags.DEFINE_bool("check", True, "Keep the original where the result cannot be right.")
_MAX_MEGAPIXELS = flags.DEFINE_float("max_megapixels", 150, "Refuse larger pictures.", 0)
_MEMORY_GB = flags.DEFINE_float(
    "memory_gb",
    None,
    "What the network may take; tiles are as large as it allows. Half of what is free if not "
    "given, and of a .tflite file that takes any size at most 0.43.",
    0,
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "auto",
    ["auto", "float32", "bfloat16"],
    "Of the arithmetic; auto takes bfloat16 where the device is faster in it.",
)
_BACKEND = flags.DEFINE_enum(
    "backend",
    "auto",
    ["auto", "tensorflow", "openvino"],
    "Of a preset or weights; auto is OpenVINO where that is installed and no GPU is there.",
)
_THREADS = flags.DEFINE_integer(
    "threads", None, "Of a .tflite file; one for each processor core if not given.", 1
)
_BEAM_RUNNER = flags.DEFINE_string(
    "beam_runner",
    None,
    "Restore as an Apache Beam pipeline: DirectRunner, DataflowRunner, FlinkRunner or SparkRunner. "
    "Then arguments are patterns, and --output a folder, on any file system that Beam knows.",
)
_BEAM_OPTIONS = flags.DEFINE_list("beam_options", [], "Beam's own flags, with commas between.")
_QUIET = flags.DEFINE_bool("quiet", False, "Say nothing but errors.")

LONG = 2  # seconds; what takes longer is told before, and shows a bar


def main(argv):
    if _BEAM_RUNNER.value:
        errors.load_tensorflow()
        return restore_collection(argv[1:])
    from tf_deblur import files
    from tf_deblur.restoring import jobs, loading

    names = argv[1:]
    if _FILES_FROM.value:
        names = names + jobs.listed(_FILES_FROM.value)
    planned = jobs.plan(
        names,
        output=_OUTPUT.value,
        format=_FORMAT.value,
        recursive=_RECURSIVE.value,
        overwrite=_OVERWRITE.value,
        skip_existing=_SKIP_EXISTING.value,
        compare=_COMPARE.value,
    )
    report = reported()

    backend = loading.choose(_MODEL.value, _BACKEND.value)
    if backend not in loading.WITHOUT_TENSORFLOW:
        errors.load_tensorflow()
    restore = loading.load(
        _MODEL.value, _PRECISION.value, _MEMORY_GB.value, _BACKEND.value, _THREADS.value
    )
    restore.say = say
    say(f"restoring with {restore}")
    say(restore.told())
    begin, counts = time.monotonic(), collections.Counter()
    try:
        with progress_bar(restore, planned) as bar:
            for record in run_jobs(restore, planned, bar):
                report(record)
                counts[record["status"]] += 1
    except KeyboardInterrupt:  # the network cannot be stopped inside a tile, the process can
        files.abandon()
        print("error: interrupted", file=sys.stderr, flush=True)
        os._exit(130)
    if len(planned) > 1:
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        took = time.monotonic() - begin
        say(f"{counts['restored']} of {len(planned)} restored{skipped}, in {took:.1f} s")
    return 1 if counts["failed"] else 0


def restore_collection(patterns):
    """The same by Apache Beam, on as many machines as its runner has."""
    try:
        from tf_deblur.restoring import collection
    except ImportError as error:
        raise UserError(
            f"--beam_runner: wants Apache Beam ({error}); pip install 'tf-deblur[beam]'"
        ) from error
    if _FILES_FROM.value or _KEEP_TIME.value or _REPORT.value or _BACKEND.value != "auto":
        raise UserError(
            "--beam_runner: goes without --files_from, --keep_time, --report and --backend"
        )
    if not patterns or not _OUTPUT.value:
        raise UserError("--beam_runner: name the photographs, and --output, a folder for them")
    names = [field.name for field in dataclasses.fields(collection.Settings)]
    settings = collection.Settings(**{name: flags.FLAGS[name].value for name in names})
    counts = collection.restore(
        *(patterns, _OUTPUT.value, ENDING, settings, _BEAM_RUNNER.value, _BEAM_OPTIONS.value)
    )
    say(", ".join(f"{count} {name}" for name, count in counts.items()))
    return 1 if counts["failed"] else 0


def say(line):
    """A line for the user, above a progress bar; on standard error where output is data."""
    from tqdm import tqdm

    if not _QUIET.value:
        piped = PIPE in sys.argv and _FILES_FROM.value != PIPE
        tqdm.write(line, file=sys.stderr if piped else sys.stdout)


def reported():
    """A function that adds a record to --report at once, so that a run that is killed has told."""
    if not _REPORT.value:
        return lambda record: None
    if not _REPORT.value.endswith(".jsonl"):  # or a slip would replace a photograph
        raise UserError(f"--report={_REPORT.value}: call it something.jsonl")

    def add(record, mode="a"):
        try:
            with open(_REPORT.value, mode) as file:
                file.write(record)
        except OSError as error:
            raise UserError(f"{_REPORT.value}: cannot be written ({error.strerror})") from error

    add("", mode="w")
    return lambda record: add(json.dumps(record) + "\n")


@contextlib.contextmanager
def progress_bar(restore, jobs):
    """A bar in megapixels on a terminal, with a word before work that takes long."""
    from tqdm import tqdm

    total = sum(pixels_of(job) for job in jobs)
    if total > 1e6:
        with concurrent.futures.ThreadPoolExecutor(1) as other:  # here Ctrl-C would wait for it
            seconds = total * other.submit(restore.seconds_a_pixel).result()
        if seconds > LONG:
            told = tqdm.format_interval(seconds)
            say(f"{total / 1e6:.1f} megapixels in {len(jobs)} files: about {told}")
    off = True if _QUIET.value else None  # None: where standard error is no terminal
    shape = "{percentage:3.0f}%|{bar:10}| {n:.1f} of {total:.1f} MP, {rate_fmt}, {remaining} left"
    options = {"unit": "MP", "delay": LONG, "leave": False, "bar_format": shape}
    with tqdm(total=total / 1e6, disable=off, **options) as bar:
        yield bar


def pixels_of(job):
    """How many it has, those of all frames of a video; 0 where that is unknown or not needed."""
    from tf_deblur.pictures import photographs, video

    if job.problem or job.source == PIPE or job.done:
        return 0
    try:
        return (
            video.pixels(job.source)
            if video.is_video(job.source)
            else photographs.count_pixels(job.source)
        )
    except (UserError, OSError):
        return 0  # said when its turn comes


def run_jobs(restore, jobs, bar):
    """Restores the files in turn; yields a record of each.

    One is read, one restored and one written at a time, each in a thread of its own, so that
    the network never waits; and the main thread hears Ctrl-C.
    """
    stages = [concurrent.futures.ThreadPoolExecutor(1) for _ in ("read", "restore", "write")]
    under_way = collections.deque()
    for job in jobs:
        under_way.append((job, begun(restore, job, bar, *stages)))
        if len(under_way) == len(stages):
            yield outcome(*under_way.popleft())
    while under_way:
        yield outcome(*under_way.popleft())


def begun(restore, job, bar, reader, worker, writer):
    """A job's last stage as a future of what `write` returns; each waits for the one before."""
    from tf_deblur.pictures import video

    if job.problem:
        return writer.submit(fail, job)
    if job.done:
        return writer.submit(lambda: None)
    if job.source != PIPE and video.is_video(job.source):
        return worker.submit(restore_video, restore, job, bar)
    read = reader.submit(open_source, job)
    done = worker.submit(lambda: restored(restore, read.result().pixels, bar))
    return writer.submit(lambda: write(job, read.result(), *done.result()))


def outcome(job, future):
    """Waits for a job and tells its line.

    Returns:
      A dict: source, target, status ("restored", "failed" or "skipped"), seconds that the network
      and the check took, or a video in all, the share that the check kept as it was, and the
      error's line.
    """
    from tqdm import tqdm

    from tf_deblur.opencv import cv2

    record = {"source": str(job.source), "target": str(job.target), "status": "failed"}
    record |= {"seconds": None, "share_kept": None, "error": None}
    try:
        told = future.result()
    except BadPicture as error:  # an engine that refuses a picture does not know its name
        record["error"] = f"{job.source}: {error}"
    except UserError as error:
        record["error"] = str(error)
    except (OSError, MemoryError, cv2.error) as error:  # the others go on
        reason = getattr(error, "strerror", None) or type(error).__name__
        record["error"] = f"{job.source}: {reason}"
    else:
        if told is None:
            return record | {"status": "skipped"}
        line, seconds, share = told
        say(f"{job.source} -> {job.target} ({line}, {seconds:.1f} s{kept(share)})")
        return record | {"status": "restored", "seconds": round(seconds, 3), "share_kept": share}
    tqdm.write(f"error: {record['error']}", file=sys.stderr)
    return record


def fail(job):
    raise UserError(f"{job.source}: {job.problem}")


def open_source(job):
    from tf_deblur.pictures import photographs

    if job.target != PIPE:
        photographs.check_suffix(job.target)  # before any work
    if job.source == PIPE:
        return photographs.open_photograph(
            sys.stdin.buffer.read(), "standard input", _MAX_MEGAPIXELS.value
        )
    return photographs.open_photograph(job.source, megapixels=_MAX_MEGAPIXELS.value)


def restored(restore, pixels, bar):
    """(result, how much of it failed the check, seconds that it took)."""
    from tf_deblur.restoring import guard

    begin = time.monotonic()
    done = guard.restored(
        restore, pixels, _CHECK.value, _STRENGTH.value, lambda pixels: bar.update(pixels / 1e6)
    )
    return *done, time.monotonic() - begin


def write(job, photograph, result, share, seconds):
    """Writes a result, and the comparison if asked; returns (words about it, seconds, share)."""
    from tf_deblur.pictures import arrays, photographs

    like = photographs.strip_metadata(photograph) if _STRIP_METADATA.value else photograph
    own = photograph.suffix if job.target == PIPE else job.target.suffix
    suffix = f".{_FORMAT.value}" if _FORMAT.value else own
    if job.target == PIPE:
        sys.stdout.buffer.write(photographs.encode(suffix, result, like, _QUALITY.value))
        sys.stdout.buffer.flush()
    else:
        with kept_time(job.source, job.target):
            photographs.write(job.target, result, like, _QUALITY.value)
    if job.beside:
        pair = arrays.join_side_by_side(photograph.pixels, result)
        colours = dataclasses.replace(like, alpha=None)
        with kept_time(job.source, job.beside):
            photographs.write(job.beside, pair, colours, _QUALITY.value)
    height, width = result.shape[:2]
    less = photographs.describe_losses(suffix, like)
    return f"{width}x{height}{', ' * bool(less)}{less}", seconds, share


@contextlib.contextmanager
def kept_time(source, target):
    """Gives what is written inside its original's times, with --keep_time."""
    times = os.stat(source) if _KEEP_TIME.value else None  # before it is overwritten
    yield
    if times:
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def kept(share):
    return f"; {share:.1%} kept as it was, where the result could not be right" if share else ""


def restore_video(restore, job, bar):
    """Restores a video frame by frame; returns (words about it, seconds, share)."""
    from tf_deblur.pictures import video

    begin, shares = time.monotonic(), []

    def frame(pixels):
        result, share, _ = restored(restore, pixels, bar)
        shares.append(share)
        return result

    words = not _STRIP_METADATA.value
    with kept_time(job.source, job.target):
        told = video.restore(frame, job.source, job.target, _QUALITY.value, words)
    return told, time.monotonic() - begin, sum(shares) / len(shares)


def cli():
    errors.run(main, tensorflow=False)


if __name__ == "__main__":
    cli()
