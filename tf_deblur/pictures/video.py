"""Restores a video: decoded, restored and encoded side by side, in memory that does not grow.

PyAV, which brings FFmpeg's libraries, reads and writes. It is loaded only where there is a video.
"""

import collections
import concurrent.futures
import contextlib
import pathlib
from collections.abc import Callable

from tf_deblur.errors import BadPicture, UserError
from tf_deblur.files import whole

# Containers whose results are of the same kind; those of the others are Matroska files, which
# hold every codec.
KEPT = (".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".flv", ".ts", ".mts", ".m2ts")
OTHERS = (".mpg", ".mpeg", ".wmv", ".ogv")
SUFFIXES = (*KEPT, *OTHERS)
# What FFmpeg may read a file as, whatever the file says: no lists of other files, no addresses.
LIMITS = {
    "format_whitelist": "mov,matroska,avi,flv,mpegts,mpeg,mpegvideo,m4v,asf,asf_o,ogg",
    "protocol_whitelist": "file",
}
AHEAD = 3  # frames that each step may be before the next one
SLACK = 0.25  # seconds by which a header's duration may be off


def is_video(path: pathlib.Path | str) -> bool:
    return pathlib.Path(path).suffix.lower() in SUFFIXES


def choose_suffix(path: pathlib.Path) -> str:
    """The suffix that a video's result has: its own, or `.mkv`."""
    return path.suffix if path.suffix.lower() in KEPT else ".mkv"


def count_pixels(path: pathlib.Path | str) -> int:
    """How many its frames have together, as far as its header tells."""
    with _open(path) as (film, stream), _blame(path):
        rate = stream.average_rate or stream.guessed_rate or 0
        frames = stream.frames or round((film.duration or 0) / 1e6 * rate)
        return frames * stream.width * stream.height


def restore(
    function: Callable,
    source: pathlib.Path,
    target: pathlib.Path,
    quality: int = 95,
    metadata: bool = True,
    megapixels: float = float("inf"),
) -> str:
    """Writes a video whose frames are a function of another one's.

    Time stamps, the picture's size and rotation, tags of colour and depth are kept, all other
    tracks copied as they are. `video_writer.Writer` says how.

    Args:
      function: (height, width, 3) RGB of uint8, or uint16 where the source has more than 8 bits
        -> the same.
      source, target: paths; the target's suffix is `choose_suffix(source)`.
      quality: 1 to 100; of codecs that lose something.
      metadata: whether words, chapters, data tracks and attachments are copied: places are there.
      megapixels: a video whose frames claim more is refused before they are decoded.

    Returns:
      What was made, in words.

    Raises:
      BadPicture: not a video that FFmpeg reads.
      UserError: its result cannot be written.
    """
    found: collections.Counter = collections.Counter()
    first, covers = _read_first_frame(source, megapixels)
    from tf_deblur.pictures import video_writer

    try:
        with whole(target) as part, _open(source) as (film, stream):
            with video_writer.Writer(
                part, target, film, stream, first, quality, metadata, covers
            ) as result:
                blurred = _run_ahead(_decode(source, film, stream, found))
                restored = _run_ahead(_restore_frames(function, blurred, result.to_rgb))
                with (
                    contextlib.closing(blurred),
                    contextlib.closing(restored),
                ):  # the last one first
                    for packets, *images in restored:
                        result.copy(packets)
                        if images:
                            result.add(*images)
            _read_back(part, target, result.picture, found["frames"])
            with _blame(source):
                losses = [*_describe_losses(film, stream, found), *result.left_out]
            if result.scaled:
                losses.append(f"{result.scaled} frames of other sizes scaled to the first one's")
            return ", ".join([result.size, f"{found['frames']} frames", *losses])
    except (OSError, video_writer.av.FFmpegError) as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error


@contextlib.contextmanager
def _blame(path):
    """Whatever PyAV and FFmpeg raise of a film becomes a `BadPicture` here."""
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise BadPicture(f"videos want PyAV ({error}); pip install av", path) from error
    except Exception as error:
        raise BadPicture("not a video that we can read; convert it to MP4", path) from error


@contextlib.contextmanager
def _open(path, megapixels=float("inf")):
    """A video and the one of its streams that is restored, as PyAV has them."""
    if not path.exists():
        raise BadPicture("no such file", path)
    if not path.is_file():
        raise BadPicture("not a file", path)
    with _blame(path):
        import av

        # file: and a name with a colon is no protocol; old files' words may not be UTF-8
        film = av.open(f"file:{path}", metadata_errors="surrogateescape", options=LIMITS)
    with film:
        with _blame(path):
            stream = film.streams.best("video")
            if stream is None or stream.codec_context is None:
                raise BadPicture("no video in it that we can read", path)
            stream.thread_type = "AUTO"  # several frames at once too
            if stream.width * stream.height > megapixels * 1e6:
                raise BadPicture(
                    f"{stream.width}x{stream.height} pixels, more than {megapixels:g} megapixels; "
                    "raise --max_megapixels if you trust it",
                    path,
                )
        yield film, stream


def _read_first_frame(path, megapixels=float("inf")):
    """What a result must know at once.

    Returns:
      (a frame, which tells format, colours and rotation; {track: bytes of a cover}).
    """
    covers: dict[int, bytes] = {}
    with _open(path, megapixels) as (film, stream):
        for packets, frame in _decode(path, film, stream, collections.Counter()):
            for packet in packets:
                if "attached_pic" in str(packet.stream.disposition.name):
                    covers[packet.stream_index] = bytes(packet)
            if frame:
                return frame, covers
    raise BadPicture("no frames in it that we can read", path)


def _read_back(part, target, picture, frames):
    """UserError unless what was written begins with a frame of its size, and has them all."""
    try:
        first, _ = _read_first_frame(part)
        with _open(part) as (film, stream):
            packets = _demux(film, collections.Counter())
            kept = sum(packet.stream_index == stream.index for packet in packets)
    except UserError as error:
        raise UserError(f"{target}: as before, for its result cannot be read back") from error
    if (first.width, first.height) != (picture.width, picture.height) or kept < frames:
        told = f"{kept} frames of {first.width}x{first.height}"
        raise UserError(f"{target}: as before, for its result read back has {told}")


def _decode(path, film, stream, found):
    with _blame(path):
        yield from _decode_packets(film, stream, found)


def _decode_packets(film, stream, found):
    """Yields (packets of other tracks, the frame that follows them or None) in the file's order.

    What cannot be decoded is left out. `found` counts "frames", "damaged" and "seconds".
    """
    import av

    others = []
    for packet in _demux(film, found):
        if packet.stream_index != stream.index:
            others.append(packet)
            continue
        try:
            frames = packet.decode()
        except av.FFmpegError:
            found["damaged"] += 1
            continue
        for frame in frames:
            found["frames"] += 1
            yield others, frame
            others = []
    with contextlib.suppress(av.FFmpegError):
        for frame in stream.codec_context.decode(None):  # what a codec has kept back
            found["frames"] += 1
            yield others, frame
            others = []
    yield others, None


def _demux(film, found):
    import av

    while True:
        try:
            for packet in film.demux():
                if packet.size:  # else it only says that the file ends
                    end = ((packet.pts or 0) + (packet.duration or 0)) * packet.time_base
                    found["seconds"] = max(found["seconds"], float(end))
                    yield packet
            return
        except IndexError:  # PyAV's, for a track that begins past the file's head
            found["late"] += 1
        except av.FFmpegError:  # a file that ends inside a packet
            found["damaged"] += 1
            return


def _restore_frames(function, frames, to_rgb):
    """Yields (packets, frame, its pixels, the restored ones); at the end (packets,)."""
    for packets, frame in frames:
        if frame:
            pixels = to_rgb(frame)
            yield packets, frame, pixels, function(pixels)
        else:
            yield (packets,)


def _run_ahead(items):
    """Yields what an iterator does, which a thread of its own asks up to `AHEAD` items early."""
    end = object()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        try:
            waiting = [thread.submit(next, items, end) for _ in range(AHEAD)]
            while (item := waiting.pop(0).result()) is not end:
                waiting.append(thread.submit(next, items, end))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)


def _describe_losses(film, stream, found):
    """What a video should have and has not, in words."""
    promised = (film.duration or 0) / 1e6
    if "matroska" not in film.format.name:  # whose durations count from zero
        promised += (film.start_time or 0) / 1e6
    if film.format.name == "avi":  # of which the duration is what is there
        promised = float(stream.frames / stream.average_rate)
    if promised > found["seconds"] + SLACK:
        yield f"though its header tells of {promised:.1f} s, not {found['seconds']:.1f}"
    if found["damaged"]:
        yield f"{found['damaged']} damaged packets left out"
    if found["late"]:
        yield "without a track that begins late"
