"""How fast is a video restored, against the network alone, and in how much memory?

python benchmarks/video.py [--frames=40] [--rounds=3]
"""

import pathlib
import subprocess
import sys
import tempfile
import time
from fractions import Fraction

import numpy as np
from absl import flags

from tf_deblur import errors

_FRAMES = flags.DEFINE_integer("frames", 40, "Of the 1280x720 clip.", 2)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "By turns; the best of each counts.", 1)
_PEAK = flags.DEFINE_string("peak_of", None, "Restore this clip and print the peak memory; a part.")
LEAST = 0.9  # of the network's own frames a second
MOST = 1.05  # times the memory for ten times the frames


def main(argv):
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; this benchmark takes flags only")
    if _PEAK.value:
        restore_clip(pathlib.Path(_PEAK.value))
        # not getrusage's, which begins with the peak of the process that started this one
        status = pathlib.Path("/proc/self/status").read_text()
        print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tell_speed(folder / "clip.mp4")
        tell_memory(folder)


def tell_speed(clip):
    make(clip, 1280, 720, _FRAMES.value)
    restore, frames = network(), pixels_of(clip)
    restore(frames[0]), restore_clip(clip, restore)  # warm
    rounds = [
        (
            measure_time(lambda: [restore(frame) for frame in frames]),
            measure_time(lambda: restore_clip(clip, restore)),
        )
        for _ in range(_ROUNDS.value)
    ]
    best = np.min(rounds, axis=0)  # rows: alone, whole; columns: wall, cores
    print(f"| 1280x720, {restore.precision} | frames a second | core seconds a frame |")
    print("|---|---|---|")
    for name, (wall, cores) in zip(("the network alone", "deblur"), best):
        print(f"| {name} | {len(frames) / wall:.2f} | {cores / len(frames):.3f} |")
    share = best[0, 0] / best[1, 0]
    say("\n    deblur to the network alone", share, LEAST, share >= LEAST, "least")


def tell_memory(folder):
    peaks = []
    for count in (100, 1000):
        clip = folder / f"{count}.mp4"
        make(clip, 320, 240, count)
        line = [sys.executable, __file__, f"--peak_of={clip}"]
        peaks.append(int(subprocess.check_output(line)))
        print(f"    peak memory of {count} frames of 320x240: {peaks[-1] / 1e9:.3f} GB")
    times = peaks[1] / peaks[0]
    say("    1,000 frames to 100", times, MOST, times <= MOST, "most")


def say(what, value, bound, met, word):
    print(f"{what}: {value:.3f} (at {word} {bound}: {'met' if met else 'not met'})", flush=True)


def make(path, width, height, count):
    """A camera that pans over blurred noise with edges in it: a clip in H.264, 25 a second."""
    import av
    import cv2

    rng = np.random.default_rng(0)
    side = (height + count % 97 + 100, width + 300)
    blocks = cv2.resize(rng.integers(0, 256, (12, 20, 3), np.uint8), side[::-1])
    scene = blocks.astype(np.float32) + cv2.GaussianBlur(rng.normal(0, 60, (*side, 3)), (0, 0), 2)
    scene = scene.clip(0, 255).astype(np.uint8)
    with av.open(path, "w") as film:
        facts = {"width": width, "height": height, "time_base": Fraction(1, 25)}
        picture = film.add_stream("libx264", 25, {"preset": "veryfast", "crf": "18"}, **facts)
        for number in range(count):
            row, column = number % 97, 3 * (number % 97)
            window = np.ascontiguousarray(scene[row : row + height, column : column + width])
            frame = av.VideoFrame.from_ndarray(window, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            film.mux(picture.encode(frame))
        film.mux(picture.encode(None))


def pixels_of(clip):
    import av

    with av.open(clip) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def network():
    from tf_deblur.restoring import loading

    return loading.load("compact")


def restore_clip(clip, restore=None):
    """Restores a clip as the command does, with its check."""
    from tf_deblur.pictures import video
    from tf_deblur.restoring import pipeline

    restore = restore or network()
    video.restore(
        lambda pixels: pipeline.restore_checked(restore, pixels)[0],
        clip,
        clip.with_stem("restored"),
    )


def measure_time(function):
    """(seconds, core seconds)."""
    begin = time.monotonic(), time.process_time()
    function()
    return time.monotonic() - begin[0], time.process_time() - begin[1]


if __name__ == "__main__":
    errors.run(main)
