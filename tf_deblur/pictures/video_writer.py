"""Writes a restored video as its source is: codec, colours, depth, times, and all other tracks."""

import collections
import contextlib
from collections.abc import Iterable

import av
import numpy as np
from av.video.reformatter import Interpolation

from tf_deblur.errors import UserError
from tf_deblur.pictures import containers, encoders

MARKS = ("SPHERICAL", "STEREO3D")
TURNING = ("mp4", "mov", "3gp")  # the containers whose display matrix every player knows
COLOURS = ("color_range", "colorspace", "color_primaries", "color_trc")
# swscale's fast ways cost up to 10 dB of luma there and back
ACCURATE = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)


class Writer:
    """A video file in the making, which takes restored frames and others' packets.

    Attributes:
      size: of the picture as displayed, in words.
      left_out: what could not be copied, in words.
      scaled: how many frames had another size than the first one.
    """

    def __init__(self, path, target, film, stream, first, quality, metadata=True, covers=()):
        """
        Args:
          path, target: where it is written, and what it is called in errors.
          film, stream: the source, and its stream that is restored.
          first: a decoded frame of it.
          quality: 1 to 100.
          metadata: whether words, chapters, data tracks and attachments are copied.
          covers: {track: bytes of its only picture}.
        """
        self.path, self.covers, self.counts = path, dict(covers), collections.Counter()
        self.target, self.stream, self.first, self.left_out = target, stream, first, []
        self.film, self.metadata, self.scaled = film, metadata, 0
        self.last = None  # time of the latest frame
        self.moved = {}  # by track: how far its times are moved, and the latest
        words = {"metadata_errors": "surrogateescape"}  # as they were, UTF-8 or not
        options = containers.choose_options(film, path)
        self.container = av.open(f"file:{path}", "w", container_options=options, **words)
        self.matrix = _find_display_matrix(first)
        self.turns = self.matrix is not None and self.container.format.name not in TURNING
        self.picture = self._open_picture(quality)
        self.tracks = dict(self._copy_tracks(film))
        if metadata:
            self.container.metadata.update(film.metadata)
            self.container.set_chapters(film.chapters())
        height, width = _turn_upright(np.empty((first.height, first.width)), self.matrix).shape
        self.size = f"{width}x{height}"  # as displayed

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        """Writes what is left, unless something failed; closes in any case."""
        if kind is None:
            with self._explain_errors():
                self.container.mux(self.picture.encode(None))
                self.container.close()
            if self.container.format.name == "avi":
                containers.mend_sound(self.path, self.film, self.tracks, self.counts)
            if self.container.format.name in TURNING:
                containers.mend_duration(self.path)
        else:
            with contextlib.suppress(av.FFmpegError):
                self.container.close()

    def to_rgb(self, frame: av.VideoFrame) -> np.ndarray:
        """A decoded frame's pixels: (height, width, 3) uint8, or uint16 where it has more bits."""
        deep = max(part.bits for part in frame.format.components) > 8
        image = frame.reformat(format="rgb48le" if deep else "rgb24", interpolation=ACCURATE)
        pixels = image.to_ndarray()
        return np.ascontiguousarray(_turn_upright(pixels, self.matrix)) if self.turns else pixels

    def add(self, frame: av.VideoFrame, blurred: np.ndarray, restored: np.ndarray) -> None:
        """Encodes what became of a frame, at that frame's time.

        Args:
          frame: as decoded.
          blurred: its pixels, of `to_rgb`.
          restored: what they became.
        """
        self.scaled += (frame.width, frame.height) != (self.first.width, self.first.height)
        image, before = self._to_encodable(restored), self._to_encodable(blurred)
        if _are_alike(image, frame):
            _add_change(image, before, frame)
        image.pts, image.time_base = self._choose_time(frame), self.stream.time_base
        image.duration = frame.duration
        with self._explain_errors():
            self.container.mux(self.picture.encode(image))

    def copy(self, packets: Iterable[av.Packet]) -> None:
        """Writes packets of other tracks, as they are."""
        for packet in packets:
            if packet.stream_index in self.tracks:
                self._move(packet)
                packet.stream = self.tracks[packet.stream_index]
                if not (packet.stream.name or "").startswith(("pcm_", "adpcm_")):
                    self.counts[packet.stream.index] += 1
                with self._explain_errors():
                    self.container.mux(packet)

    def _move(self, packet):
        """Lays a packet behind its track's last one where times go back, as in joined films."""
        if packet.dts is None:
            return
        by, last = self.moved.get(packet.stream_index, (0, packet.dts))
        if packet.dts + by < last:
            by = last + max(packet.duration or 0, 1) - packet.dts
        if by:
            packet.pts = None if packet.pts is None else packet.pts + by
            packet.dts += by
        self.moved[packet.stream_index] = by, packet.dts

    def _to_encodable(self, pixels):
        """A frame of RGB pixels in the result's own format."""
        image = av.VideoFrame.from_ndarray(pixels, "rgb24" if pixels.itemsize == 1 else "rgb48le")
        _copy_colours(image, self.first)  # back by the matrix and range that they came from
        context = self.picture.codec_context
        size = context.width, context.height
        image = image.reformat(*size, context.pix_fmt, interpolation=ACCURATE)
        _copy_colours(image, self.first)  # the conversion gives two of the matrices one name
        return image

    @contextlib.contextmanager
    def _explain_errors(self):
        """What cannot be written is a line; for FFmpeg's errors are of many kinds."""
        try:
            yield
        except av.FFmpegError as error:
            raise UserError(f"{self.target}: cannot be written ({error.strerror})") from error

    def _choose_time(self, frame):
        """The frame's time stamp; where it has none, or one that is past, the next one free."""
        time = frame.dts if frame.pts is None else frame.pts
        if self.last is not None and (time is None or time <= self.last):
            time = self.last + max(frame.duration or 0, 1)
        self.last = time or 0
        return self.last

    def _open_picture(self, quality):
        """The stream of restored frames, not begun yet."""
        width, height = self.first.width, self.first.height
        aspect = self.stream.sample_aspect_ratio
        turned = self.turns and self.matrix[0] == 0
        if turned:
            width, height, aspect = height, width, 1 / aspect if aspect else None
        rate = self.stream.average_rate or self.stream.guessed_rate or 25
        facts = {"width": width, "height": height, "time_base": self.stream.time_base}
        if aspect:
            facts["sample_aspect_ratio"] = aspect
        for codec in (self.stream.codec_context.codec.canonical_name, *encoders.OTHERWISE):
            encoder, options = encoders.choose_encoder(codec, quality)
            pix_fmt = encoder and encoders.find_pixel_format(
                encoder, options, rate, facts, self.first.format
            )
            if not pix_fmt:
                continue
            with contextlib.suppress(ValueError):  # the container does not take it
                picture = self.container.add_stream(encoder, rate, options, **facts)
                picture.codec_context.pix_fmt = pix_fmt
                break
        else:
            raise UserError(
                f"{self.target}: no codec for {width}x{height} pixels in such a file; "
                "convert the source to MP4"
            )
        _copy_colours(picture.codec_context, self.first)
        if codec == "hevc" and self.container.format.name in TURNING:
            picture.codec_context.codec_tag = "hvc1"  # Apple's players want it
        if self.matrix is not None and not self.turns:
            picture.set_display_matrix(self.matrix)
        self._describe(picture, self.stream)
        picture.metadata.pop("alpha_mode", None)
        if self._loses_alpha(pix_fmt):
            self.left_out.append("without its transparency")
        if any(self.first.side_data.get(mark) for mark in MARKS):
            self.left_out.append("without its marks of 360 degrees or two eyes")
        return picture

    def _loses_alpha(self, pix_fmt):
        """Whether a film has transparency that does not go over; VP9's FFmpeg does not decode."""
        of = self.first.format
        kept = pix_fmt == of.name and of.is_planar and not of.is_rgb  # by `_add_change`
        has = any(part.is_alpha for part in of.components)
        return (has and not kept) or self.stream.metadata.get("alpha_mode") == "1"

    def _copy_tracks(self, film):
        """(index in the source, the stream that it is copied into) of all others that fit."""
        for track in film.streams:
            if track.index == self.stream.index or containers.is_made_anew(track, film):
                continue
            cover = self.container.format.name == "matroska" and track.index in self.covers
            unwanted = not self.metadata and (cover or track.type in ("data", "attachment"))
            if cover and not unwanted:
                kind = "png" if track.codec_context.name == "png" else "jpeg"
                name = track.metadata.get("filename", f"cover.{kind}")
                mime = track.metadata.get("mimetype", f"image/{kind}")
                self.container.add_attachment(name, mime, self.covers[track.index])
                continue
            if unwanted or not containers.is_taken(track, self.container.format.name):
                self.left_out.append(f"without {track.type} track {track.index}")
                continue
            copied = self.container.add_stream_from_template(track, opaque=True)
            self._describe(copied, track)
            yield track.index, copied

    def _describe(self, to, of):
        """Gives a stream the marks of another, and its metadata."""
        to.disposition = of.disposition
        if self.metadata:
            to.metadata.update(of.metadata)
            to.metadata.pop("encoder", None)


def _are_alike(image, frame):
    """Whether two frames hold the same samples at the same places."""
    formats = image.format, frame.format
    same = formats[0].name == formats[1].name and formats[0].is_planar and not formats[0].is_rgb
    return same and (image.width, image.height) == (frame.width, frame.height)


def _add_change(image, before, frame):
    """Makes an image its source with the change that restoring made added to it.

    RGB does not hold all that a film does: neither light above white, nor chroma at half the
    size. What is not changed so stays as it was, to the last bit.

    Args:
      image, before: the restored and the blurred frame, both by way of RGB; the first is changed.
      frame: the source's own.
    """
    top = 2 ** max(part.bits for part in frame.format.components) - 1
    for planes in zip(image.planes, before.planes, frame.planes):
        restored, blurred, own = (_view_samples(plane, top) for plane in planes)
        kind = np.int16 if top == 255 else np.int32
        change = np.subtract(restored, blurred, dtype=kind)
        np.clip(np.add(change, own, out=change), 0, top, out=restored, casting="unsafe")


def _view_samples(plane, top):
    """A plane of a frame as an array that shares its memory."""
    kind = np.dtype(np.uint8 if top == 255 else "<u2")
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
    return rows[:, : plane.width]


def _copy_colours(to, of):
    for tag in COLOURS:
        setattr(to, tag, getattr(of, tag))


def _find_display_matrix(frame):
    """FFmpeg's nine numbers for how a frame is turned; None for one that stands upright."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    matrix = np.frombuffer(bytes(data), np.int32).tolist()
    return None if matrix[:5] == [65536, 0, 0, 0, 65536] else matrix


def _turn_upright(pixels, matrix):
    """Pixels turned and mirrored as a display matrix says; by quarters only."""
    if matrix is None:
        return pixels
    a, b, _, c, d = matrix[:5]  # x' = a x + c y, y' = b x + d y
    if a == 0:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
