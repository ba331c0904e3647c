"""What containers of films want: options, tracks that fit, headers that FFmpeg writes wrong."""

import contextlib
import io
import mmap
import pathlib
import re
import struct
from collections.abc import Mapping

import av

from tf_deblur.pictures.heif import read_boxes


def choose_options(film: av.container.InputContainer, path: pathlib.Path) -> dict[str, str]:
    """What a container is told, so that it keeps times and metadata."""
    if path.suffix.lower() in (".ts", ".mts", ".m2ts"):
        return {"mpegts_copyts": "1", "mpegts_m2ts_mode": str(int(path.suffix.lower() != ".ts"))}
    if any("." in key for key in film.metadata):  # com.apple.quicktime.make: phones' own words
        return {"movflags": "use_metadata_tags"}
    return {}


def is_made_anew(track: av.stream.Stream, film: av.container.InputContainer) -> bool:
    """Whether it is MP4's track of chapter names or of the time code, which the muxer makes.

    It does so from chapters, and from a word of the video's; copied, the latter has no rate.
    """
    chapters = track.type == "data" and track.name == "bin_data" and film.chapters()
    return bool(chapters) or (track.type == "data" and "timecode" in track.metadata)


def is_taken(track: av.stream.Stream, container: str) -> bool:
    """Whether a kind of container takes a track: asked of an empty one, in memory."""
    probe = av.open(io.BytesIO(), "w", format=container)
    try:
        probe.add_stream_from_template(track, opaque=True)
        probe.start_encoding()
        return True
    except (ValueError, av.FFmpegError):
        return False
    finally:
        with contextlib.suppress(av.FFmpegError):
            probe.close()


def mend_sound(
    path: pathlib.Path, film: av.container.InputContainer, tracks: dict, counts: Mapping[int, int]
) -> None:
    """Gives sound in an AVI file's header the length and the unit of time that its source has.

    FFmpeg's muxer takes packets of MP3, AAC and the like for bytes, after `block_align` of the
    source: its own command sets that to 0 first, for some codecs, which PyAV cannot. Of ADPCM it
    takes a block to last as long as its bytes, not as its samples.

    Args:
      path: the file.
      film: the source; of another container's sound the packets are counted.
      tracks: {number of a stream in the source: the stream that it is copied into}.
      counts: {number of a stream: its packets}, of those whose packets all take the same time.
    """
    own = film.format.name == "avi"
    of_source = _read_stream_headers(film.name.removeprefix("file:")) if own else {}
    headers = _read_stream_headers(path)
    with open(path, "r+b") as file:
        for number, stream in tracks.items():
            place, header = headers.get(stream.index, (0, b""))
            if header[:4] != b"auds":
                continue
            _, source = of_source.get(number, (0, b""))
            scale, rate, length, size = struct.unpack("<20x2I4xI8xI", header)
            if source[:4] == b"auds":
                scale, rate, length, size = struct.unpack("<20x2I4xI8xI", source)
            elif stream.index in counts:
                length, size = 0, 0
            length = length or counts[stream.index]
            for field, value in ((20, scale), (24, rate), (32, length), (44, size)):
                file.seek(place + field)
                file.write(struct.pack("<I", value))


def _read_stream_headers(path):
    """{number of a stream: (where its header lies, the 48 bytes of it)} of an AVI file."""
    with open(path, "rb") as file:
        head = file.read(20)
        head += file.read(min(struct.unpack_from("<I", head, 16)[0], 1 << 20))
    places = [found.end() + 4 for found in re.finditer(b"strh", head)]
    found = ((place, head[place : place + 48]) for place in places if place + 48 <= len(head))
    return dict(enumerate(found))


def mend_duration(path: pathlib.Path) -> None:
    """Tells in an MP4 file's header how long picture and sound are.

    FFmpeg's muxer tells how long all tracks are, and cameras' data go on for up to a second.
    """
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        top = read_boxes(data, 0, len(data))
        boxes = [box for kind, *moov in top if kind == b"moov" for box in read_boxes(data, *moov)]
        head = next((start for kind, start, _ in boxes if kind == b"mvhd"), None)
        if head is None:
            return
        longest = 0
        for track in [data[start:end] for kind, start, end in boxes if kind == b"trak"]:
            place = track.find(b"hdlr") + 12
            if track[place : place + 4] in (b"vide", b"soun"):
                longest = max(longest, int.from_bytes(track[28:32], "big"))
        if not data[head]:  # else its numbers are of 64 bits, which only days want
            struct.pack_into(">L", data, head + 16, longest)
