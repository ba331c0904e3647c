"""Restores blurred photographs: photo.jpg becomes photo_restored.jpg beside it.

python -m tf_deblur.deblur photo.jpg holiday/ clip.mp4
cat photo.jpg | python -m tf_deblur.deblur - > restored.jpg
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import glob
import os
import pathlib
import sys
import time

from absl import flags

from tf_deblur import errors
from tf_deblur.errors import UserError

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
_RECURSIVE = flags.DEFINE_bool("recursive", False, "Folders inside folders too.")
_FORMAT = flags.DEFINE_enum(
    "format", None, ["png", "jpg", "tif", "webp", "avif"], "Write this, not the original's format."
)
_QUALITY = flags.DEFINE_integer("quality", 95, "Of JPEG, WebP and AVIF.", 1, 100)
_STRIP_METADATA = flags.DEFINE_bool("strip_metadata", False, "Drop EXIF, profile and the like.")
_COMPARE = flags.DEFINE_bool("compare", False, "Write original and result side by side too.")
_STRENGTH = flags.DEFINE_float("strength", 1, "Blends the original, 0, with the result, 1.", 0, 1)
_CHECK = flags.DEFINE_bool("check", True, "Keep the original where the result cannot be right.")
_MAX_MEGAPIXELS = flags.DEFINE_float("max_megapixels", 150, "Refuse larger pictures.", 0)
_MEMORY_GB = flags.DEFINE_float(
    "memory_gb", None, "What the network may take; half of what is free if not given.", 0
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "auto",
    ["auto", "float32", "bfloat16"],
    "Of the arithmetic; auto takes bfloat16 where the device is faster in it.",
)
_BEAM_RUNNER = flags.DEFINE_string(
    "beam_runner",
    None,
    "Restore as an Apache Beam pipeline: DirectRunner, DataflowRunner, FlinkRunner or SparkRunner. "
    "Then arguments are patterns, and --output a folder, on any file system that Beam knows.",
)
_BEAM_OPTIONS = flags.DEFINE_list("beam_options", [], "Beam's own flags, with commas between.")
_QUIET = flags.DEFINE_bool("quiet", False, "Say nothing but errors.")

PIPE = "-"  # standard input, and then standard output
ENDING = "_restored"
LONG = 2  # seconds; what takes longer is told before, and shows a bar


@dataclasses.dataclass
class Job:
    """One file to restore.

    Attributes:
      source, target: paths, or `PIPE`.
      problem: why it cannot be done, or None.
      pixels: how many it has, as far as its header tells.
    """

    source: object
    target: object
    problem: str | None = None
    pixels: int = 0


def main(argv):
    if _BEAM_RUNNER.value:
        return restore_collection(argv[1:])
    jobs = plan(argv[1:])
    from tf_deblur import files, restorer

    restore = restorer.load(_MODEL.value, _PRECISION.value, _MEMORY_GB.value)
    say(f"restoring with {restore}")
    begin, counts = time.monotonic(), collections.Counter()
    try:
        with progress_bar(restore, jobs) as bar:
            counts.update(run_jobs(restore, jobs, bar))
    except KeyboardInterrupt:  # the network cannot be stopped inside a tile, the process can
        files.abandon()
        print("error: interrupted", file=sys.stderr, flush=True)
        os._exit(130)
    if len(jobs) > 1:
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        took = time.monotonic() - begin
        say(f"{counts['restored']} of {len(jobs)} restored{skipped}, in {took:.1f} s")
    return 1 if counts["failed"] else 0


def restore_collection(patterns):
    """The same by Apache Beam, on as many machines as its runner has."""
    try:
        from tf_deblur import collection
    except ImportError as error:
        raise UserError(
            f"--beam_runner: wants Apache Beam ({error}); pip install 'tf-deblur[beam]'"
        ) from error
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
        tqdm.write(line, file=sys.stderr if PIPE in sys.argv else sys.stdout)


def plan(names):
    """A job for each file that the arguments name: files, folders, patterns, or `-`."""
    if not names:
        raise UserError("no photograph named; say for instance: tf-deblur deblur photo.jpg")
    if PIPE in names:
        if len(names) > 1:
            raise UserError("-: is standard input, and goes alone")
        return [Job(PIPE, PIPE)]
    sources = dict(pair for name in names for pair in sources_of(pathlib.Path(name)))
    taken = {os.path.abspath(source) for source in sources}
    jobs = []
    for source, root in sources.items():
        target = target_of(source, root)
        place = os.path.abspath(target)
        problem = None
        if place in taken and not _OVERWRITE.value:
            problem = "its result would replace another file named here; run it by itself"
        taken.add(place)
        jobs.append(Job(source, target, problem))
    return jobs


def sources_of(path):
    """(file, the folder that it was found below) for each file that one argument means."""
    from tf_deblur import images, video

    if path.is_dir():
        suffixes = {*images.READ, *video.CODECS}
        found, seen = [], set()
        for folder, inside, names in os.walk(path, followlinks=True):
            inside[:] = [n for n in sorted(inside) if _RECURSIVE.value and not n.startswith(".")]
            identity = os.path.realpath(folder)
            if identity in seen:  # a link that leads back
                inside.clear()
                continue
            seen.add(identity)
            found += [pathlib.Path(folder, name) for name in sorted(names)]
        found = [f for f in found if f.suffix.lower() in suffixes and not f.name.startswith(".")]
        found = [f for f in found if not f.stem.endswith(ENDING)]  # an earlier run's
        if not found:
            raise UserError(f"{path}: no pictures in it (folders in it: --recursive)")
        return [(file, path) for file in found]
    if not path.exists() and glob.has_magic(str(path)):
        matches = sorted(glob.glob(str(path), recursive=True))
        if not matches:
            raise UserError(f"{path}: no file is named so")
        return [pair for match in matches for pair in sources_of(pathlib.Path(match))]
    return [(path, path.parent)]


def target_of(source, root):
    """Where a file's result goes."""
    from tf_deblur import video

    suffix = source.suffix
    if _FORMAT.value and not video.is_video(source):
        suffix = f".{_FORMAT.value}"
    if _OUTPUT.value:
        folder = pathlib.Path(_OUTPUT.value) / source.parent.relative_to(root)
    elif _OVERWRITE.value:
        return source.with_suffix(suffix)
    else:
        folder = source.parent
    return folder / f"{source.stem}{ENDING}{suffix}"


@contextlib.contextmanager
def progress_bar(restore, jobs):
    """A bar in megapixels on a terminal, with a word before work that takes long."""
    from tqdm import tqdm

    total = 0
    for job in jobs:
        job.pixels = 0 if job.problem or job.source == PIPE else pixels_of(job.source)
        total += job.pixels
    if total > 4e6:
        seconds = total * restore.seconds_a_pixel()
        if seconds > LONG:
            told = tqdm.format_interval(seconds)
            say(f"{total / 1e6:.1f} megapixels in {len(jobs)} files: about {told}")
    off = True if _QUIET.value else None  # None: where standard error is no terminal
    with tqdm(total=total / 1e6, unit="MP", delay=LONG, leave=False, disable=off) as bar:
        yield bar


def pixels_of(path):
    """How many a file has, those of all frames of a video; 0 where its header does not tell."""
    from tf_deblur import images, video

    try:
        return video.pixels(path) if video.is_video(path) else images.pixels(path)
    except UserError:
        return 0  # said when its turn comes


def run_jobs(restore, jobs, bar):
    """Restores the files in turn; yields "restored", "failed" or "skipped" for each.

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
    """A job's last stage as a future of its line; each stage waits for the one before."""
    from tf_deblur import video

    if job.problem:
        return writer.submit(fail, job)
    if _SKIP_EXISTING.value and job.target != PIPE and job.target.exists():
        return writer.submit(lambda: None)
    if job.source != PIPE and video.is_video(job.source):
        return worker.submit(restore_video, restore, job, bar)
    read = reader.submit(open_source, job)
    done = worker.submit(lambda: restored(restore, read.result().pixels, bar))
    return writer.submit(lambda: write(job, read.result(), *done.result()))


def outcome(job, future):
    """Waits for a job and tells its line."""
    from tqdm import tqdm

    try:
        line = future.result()
    except UserError as error:
        tqdm.write(f"error: {error}", file=sys.stderr)
        return "failed"
    if line is None:
        return "skipped"
    say(f"{job.source} -> {job.target} ({line})")
    return "restored"


def fail(job):
    raise UserError(f"{job.source}: {job.problem}")


def open_source(job):
    from tf_deblur import images

    if job.target != PIPE:
        images.check_suffix(job.target)  # before any work
    if job.source == PIPE:
        return images.open_photograph(
            sys.stdin.buffer.read(), "standard input", _MAX_MEGAPIXELS.value
        )
    return images.open_photograph(job.source, megapixels=_MAX_MEGAPIXELS.value)


def restored(restore, pixels, bar):
    """(result, how much of it failed the check, seconds that it took)."""
    from tf_deblur import guard

    begin = time.monotonic()
    done = guard.restored(
        restore, pixels, _CHECK.value, _STRENGTH.value, lambda pixels: bar.update(pixels / 1e6)
    )
    return *done, time.monotonic() - begin


def write(job, photograph, result, share, seconds):
    """Writes a result, and the comparison if asked; returns the line about it."""
    from tf_deblur import images

    like = images.stripped(photograph) if _STRIP_METADATA.value else photograph
    if job.target == PIPE:
        suffix = f".{_FORMAT.value}" if _FORMAT.value else photograph.suffix
        sys.stdout.buffer.write(images.encode(suffix, result, like, _QUALITY.value))
        sys.stdout.buffer.flush()
    else:
        images.write(job.target, result, like, _QUALITY.value)
    if _COMPARE.value and job.target != PIPE:
        beside = job.target.with_name(f"{job.source.stem}_compare{job.target.suffix}")
        images.write(beside, images.side_by_side(photograph.pixels, result), None, _QUALITY.value)
    height, width = result.shape[:2]
    return f"{width}x{height}, {seconds:.1f} s{kept(share)}"


def kept(share):
    return f"; {share:.1%} kept as it was, where the result could not be right" if share else ""


def restore_video(restore, job, bar):
    """Restores a video frame by frame; returns the line about it."""
    from tf_deblur import video

    begin, shares = time.monotonic(), []

    def frame(pixels):
        result, share, _ = restored(restore, pixels, bar)
        shares.append(share)
        return result

    told = video.restore(frame, job.source, job.target)
    share = sum(shares) / len(shares)
    return f"{told}, {time.monotonic() - begin:.1f} s{kept(share)}"


def cli():
    errors.run(main)


if __name__ == "__main__":
    cli()
