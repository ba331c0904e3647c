"""Restores a video frame by frame, in memory that does not grow with its length."""

import shutil
import subprocess

import numpy as np

from tf_deblur.errors import UserError, quiet
from tf_deblur.files import whole
from tf_deblur.images import cv2

# Each container's codec, of those that OpenCV's FFmpeg writes everywhere.
CODECS = {
    ".mp4": "mp4v",
    ".m4v": "mp4v",
    ".mov": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
}


def is_video(path):
    return path.suffix.lower() in CODECS


def pixels(path):
    """How many its frames have together, as far as its header tells."""
    capture = _open(path)
    sizes = cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
    count = np.prod([max(capture.get(size), 0) for size in sizes])
    capture.release()
    return int(count)


def restore(function, source, target):
    """Writes a video whose frames are a function of another one's.

    Frame rate and size are kept. Sound is copied by the program `ffmpeg` where it is there.

    Args:
      function: (height, width, 3) uint8 RGB -> the same.
      source, target: paths of one suffix out of `CODECS`.

    Returns:
      What was made, in words.

    Raises:
      UserError: not a video that OpenCV reads, or its result cannot be written.
    """
    capture = _open(source)
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    with whole(target) as part:
        count, (height, width) = _copy(function, capture, part, rate, source)
        sound = _with_sound(source, part)
    return f"{width}x{height}, {count} frames, {sound}"


def _open(path):
    if not path.exists():
        raise UserError(f"{path}: no such file")
    with quiet():
        capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise UserError(f"{path}: not a video that we can read; convert it to MP4")
    return capture


def _copy(function, capture, target, rate, source):
    codec = cv2.VideoWriter_fourcc(*CODECS[target.suffix.lower()])
    writer, count, size = None, 0, None
    while True:
        with quiet():
            there, frame = capture.read()
        if not there:
            break
        if writer is None:
            size = frame.shape[:2]
            with quiet():
                writer = cv2.VideoWriter(str(target), codec, rate, size[::-1])
            if not writer.isOpened():
                raise UserError(f"{source}: its result cannot be written as {target.suffix}")
        restored = function(np.ascontiguousarray(frame[..., ::-1]))
        writer.write(np.ascontiguousarray(restored[..., ::-1]))
        count += 1
    capture.release()
    if writer is None:
        raise UserError(f"{source}: no frames in it that we can read")
    writer.release()
    return count, size


def _with_sound(source, part):
    """Copies the source's sound into a video; says what came of it."""
    if not shutil.which("ffmpeg"):
        return "without sound (the program ffmpeg is not installed)"
    joined = part.with_name(f"{part.stem}.sound{part.suffix}")
    line = ["ffmpeg", "-y", "-v", "error", "-i", part, "-i", source]
    line += ["-map", "0:v", "-map", "1:a?", "-c", "copy", joined]
    done = subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        joined.unlink(missing_ok=True)
        return "without sound (ffmpeg could not copy it)"
    joined.replace(part)
    return "sound copied where there is any"
