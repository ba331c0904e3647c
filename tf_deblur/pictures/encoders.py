"""Which encoder makes a restored film's codec again, and how it is set."""

import os
from typing import Any

import av
from av.codec.codec import find_best_pix_fmt_of_list

os.environ.setdefault("SVT_LOG", "0")  # it writes to the terminal by itself

# The encoder for each codec that a result may have again, and how it is told of speed; all
# others, and what an encoder or a container does not take, become H.264, in WebM VP9.
# Frames are never reordered: then times need no shift in any container. The fastest settings,
# since processors are for the network; a file is up to twice as large as it could be.
ENCODERS = {
    "h264": ("libx264", {"preset": "ultrafast", "bf": "0"}),
    "hevc": ("libx265", {"preset": "superfast", "x265-params": "log-level=none:bframes=0"}),
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "5", "b": "100M", "qmin": "0"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "b": "0"}),
    "av1": ("libsvtav1", {"preset": "8"}),
    "mjpeg": ("mjpeg", {"b": "1G"}),
    "mpeg4": ("mpeg4", {"b": "1G"}),
    "prores": ("prores_ks", {}),
    "ffv1": ("ffv1", {}),
    "huffyuv": ("huffyuv", {}),
    "utvideo": ("utvideo", {}),
}
OTHERWISE = ("h264", "vp9")


def choose_encoder(codec: str, quality: int) -> tuple[str | None, dict[str, str]]:
    """(name of the encoder, its options); (None, {}) for a codec that is not written.

    Quality 95 is CRF 10, above 45 dB of luma; 75 is 21, near x264's own 23; 1 is 41.
    """
    encoder, options = ENCODERS.get(codec, (None, {}))
    crf = 1 + 4 * (100 - quality) ** 0.5
    if codec in ("h264", "hevc"):
        return encoder, options | {"crf": f"{crf:.1f}"}
    if codec in ("vp8", "vp9", "av1"):  # theirs goes to 63
        return encoder, options | {"crf": f"{crf * 63 / 51:.0f}"}
    if codec in ("mjpeg", "mpeg4"):
        step = f"{1 + 0.3 * (100 - quality):.0f}"
        return encoder, options | {"qmin": step, "qmax": step}
    return encoder, options


def find_pixel_format(
    encoder: str, options: dict, rate: Any, facts: dict, wanted: av.VideoFormat
) -> str | None:
    """The name of the format nearest to `wanted` that an encoder opens with; None if none does.

    H.264 of 4:2:0 does not open for odd sizes, and goes on to 4:4:4: nothing is cut.
    """
    try:
        formats = [known.name for known in av.Codec(encoder, "w").video_formats or ()]
    except av.codec.codec.UnknownCodecError:  # FFmpeg was built without it
        return None
    while formats:
        nearest: Any = find_best_pix_fmt_of_list(formats, wanted)[0]
        context: Any = av.CodecContext.create(encoder, "w")
        for name, value in facts.items():
            setattr(context, name, value)
        context.pix_fmt, context.framerate, context.options = nearest.name, rate, options
        try:
            context.open()
            return nearest.name
        except av.FFmpegError:
            formats.remove(nearest.name)
    return None
