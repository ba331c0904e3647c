"""Restores a video frame by frame, in memory that does not grow with its length."""

import shutil
import subprocess

import numpy as np

from tf_deblur.errors import UserError
from tf_deblur.files import whole
from tf_deblur.opencv import cv2

# Each container that is written, and its codec, of those that OpenCV's FFmpeg has everywhere.
CODECS = {
    ".mp4": "mp4v",
    ".m4v": "mp4v",
    ".mov": "mp4v",
    ".mkv": "mp4v",
    ".avi": "MJPG",
    ".webm": "VP80",
}
# What else is read; its result is an MP4 file.
OTHERS = (".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".wmv", ".3gp", ".flv", ".ogv")
SUFFIXES = (*CODECS, *OTHERS)


def is_video(path):
    return path.suffix.lower() in SUFFIXES


def suffix_of_result(path):
    """The suffix that a video's result has: its own, or `.mp4`."""
    return path.suffix if path.suffix.lower() in CODECS else ".mp4"


def pixels(path):
    """How many its frames have together, as far as its header tells."""
    capture = _open(path)
    sizes = cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT
    count = np.prod([max(capture.get(size), 0) for size in sizes])
    capture.release()
    return int(count)


def restore(function, source, target):
    """Writes a video whose frames are a function of another one's.

    The frame rate is kept, and the size where both sides are even, as codecs want them. Sound
    is copied by the program `ffmpeg` where it is there.

    Args:
      function: (height, width, 3) uint8 RGB -> the same.
      source, target: paths; the target's suffix is `suffix_of_result(source)`.

    Returns:
      What was made, in words.

    Raises:
      UserError: not a video that OpenCV reads, or its result cannot be written.
    """
    capture = _open(source)
    rate, told = capture.get(cv2.CAP_PROP_FPS) or 25.0, capture.get(cv2.CAP_PROP_FRAME_COUNT)
    try:
        with whole(target) as part:
            count = _copy(function, capture, part, rate, source)
            height, width = _checked(part, count, target)
            words = [f"{width}x{height}", f"{count} frames"]
            if told > count + 2:
                words.append(f"though its header tells of {told:.0f}")
            return ", ".join([*words, _with_sound(source, part)])
    finally:
        capture.release()


def _open(path):
    if not path.exists():
        raise UserError(f"{path}: no such file")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise UserError(f"{path}: not a video that we can read; convert it to MP4")
    return capture


def _copy(function, capture, target, rate, source):
    """Writes every frame; returns how many."""
    codec = cv2.VideoWriter_fourcc(*CODECS[target.suffix.lower()])
    writer, count = None, 0
    while (read := capture.read())[0]:
        frame = read[1]
        if writer is None:
            writer = cv2.VideoWriter(str(target), codec, rate, frame.shape[1::-1])
            if not writer.isOpened():
                raise UserError(f"{source}: its result cannot be written as {target.suffix}")
        restored = function(np.ascontiguousarray(frame[..., ::-1]))
        writer.write(np.ascontiguousarray(restored[..., ::-1]))
        count += 1
    if writer is None:
        raise UserError(f"{source}: no frames in it that we can read")
    writer.release()
    return count


def _checked(part, count, target):
    """(height, width) of what was written; UserError if frames are missing, as on a full disk."""
    written, size, frames = _open(part), None, 0
    while (read := written.read())[0]:
        size, frames = read[1].shape[:2], frames + 1
    written.release()
    if frames < count:
        raise UserError(f"{target}: cannot be written ({frames} of {count} frames arrived)")
    return size


def _with_sound(source, part):
    """Copies the source's sound into a video; says what came of it."""
    if not shutil.which("ffmpeg"):
        return "without sound (the program ffmpeg is not installed)"
    line = ["ffmpeg", "-y", "-v", "error", "-i", part, "-i", source]
    line += ["-map", "0:v", "-map", "1:a?", "-c", "copy"]
    try:
        with whole(part) as joined:
            subprocess.run(
                [*line, joined], stdin=subprocess.DEVNULL, capture_output=True, check=True
            )
    except subprocess.CalledProcessError:
        return "without sound (ffmpeg could not copy it)"
    return "sound copied where there is any"
