"""What other programs see in pictures, and what we do: equal, refused or different, file by file.

python benchmarks/readers.py FOLDER ... [--show=different,refused]
python benchmarks/readers.py --damage=1000 FOLDER ...

Of damaged copies, films' too, only what Pillow or PyAV reads may be restored.
"""

import collections
import dataclasses
import io
import itertools
import json
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import av
import numpy as np
from absl import app, flags
from PIL import Image, ImageCms, ImageOps

from tf_deblur import errors
from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import arrays, formats, photographs, video

_SHOW = flags.DEFINE_list("show", ["different"], "List these files: equal, refused, different.")
_LEVELS = flags.DEFINE_float("levels", 3, "Of 255, what equal pixels differ by on average.")
_DAMAGE = flags.DEFINE_integer("damage", 0, "Read so many damaged copies of them instead.")
_SEED = flags.DEFINE_integer("seed", 0, "Damage by this seed.")

SECONDS = 10  # that reading a file may take
SMALL = 100_000  # bytes of a file that is damaged
KEPT = "-Make", "-Model", "-DateTimeOriginal", "-ExposureTime", "-GPSLatitude", "-XMP:Title"
try:
    import pillow_heif

    pillow_heif.register_heif_opener()
except ImportError:
    pass


def main(argv):
    Image.MAX_IMAGE_PIXELS = None
    signal.signal(signal.SIGALRM, stop)
    paths = [path for name in argv[1:] for path in sorted(pathlib.Path(name).rglob("*"))]
    wanted = (*formats.READ, *video.SUFFIXES) if _DAMAGE.value else formats.READ
    paths = [p for p in paths if p.suffix.lower() in wanted and p.is_file()]
    if _DAMAGE.value:
        damage(paths)
        return
    counts, reasons = collections.Counter(), collections.Counter()
    metadata = read_metadata(paths)
    for path in paths:
        kind, told = compare(path, metadata.get(path))
        counts[kind] += 1
        if kind == "refused":
            reasons[re.sub(r"\d+", "N", told)] += 1
        if kind in _SHOW.value:
            print(f"{kind}: {path}: {told}", flush=True)
    for reason, count in reasons.most_common():
        print(f"{count} refused: {reason}")
    print(", ".join(f"{counts[kind]} {kind}" for kind in ("equal", "refused", "different")))


def stop(*_):
    raise TimeoutError(f"more than {SECONDS} s")


def compare(path, before=None):
    """("equal", ""), ("refused", why) or ("different", in what)."""
    try:
        with errors.quiet():
            photograph = photographs.open_photograph(path)
    except BadPicture as error:
        return "refused", str(error).removeprefix(f"{path}: ")
    try:
        with errors.quiet():
            expected, facts = read_by_pillow(path)
    except Exception as error:
        return "different", f"Pillow refuses it: {type(error).__name__}: {error}"
    told = compare_pixels(photograph, expected)
    own = {"alpha": photograph.alpha is not None}
    told += [
        f"{name} {own[name]}, by Pillow {facts[name]}" for name in own if own[name] != facts[name]
    ]
    told += compare_metadata(photograph, before)
    return ("different", "; ".join(told)) if told else ("equal", "")


def read_by_pillow(path):
    """((height, width, 3) uint8, upright and in sRGB, and whether there is alpha)."""
    picture = Image.open(path)
    profile = picture.info.get("icc_profile")
    picture.load()
    if picture.format != "TIFF":  # which are turned already
        picture = ImageOps.exif_transpose(picture)
    alpha = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    if picture.mode in ("I", "I;16", "I;16B", "I;16L"):
        deep = np.asarray(picture).astype(float) / 257
        return np.repeat(deep[..., None], 3, axis=-1), {"alpha": alpha}
    if picture.mode == "CMYK" or profile:
        picture = convert(picture, profile)
    if alpha:
        picture = picture.convert("RGBA")
    return np.asarray(picture.convert("RGB")).astype(float), {"alpha": alpha}


def convert(picture, profile):
    """A picture in sRGB; as it is where its profile is damaged or of another kind of colours."""
    mode = {"P": "RGB", "1": "L", "PA": "RGBA", "LA": "L"}.get(picture.mode, picture.mode)
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        kept = picture.convert(mode)
        return ImageCms.profileToProfile(kept, source, ImageCms.createProfile("sRGB"), 1, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return picture


def compare_pixels(photograph, expected):
    own = photographs.strip_metadata(photograph).pixels  # in sRGB
    if own.shape != expected.shape:
        return [f"{own.shape[1]}x{own.shape[0]}, by Pillow {expected.shape[1]}x{expected.shape[0]}"]
    levels = np.abs(arrays.to_float(own) * 255 - expected)
    if photograph.alpha is not None:  # what cannot be seen has no colour
        levels = levels[photograph.alpha > 0]
    mean = levels.mean() if levels.size else 0
    return [f"pixels differ by {mean:.1f} levels"] if mean > _LEVELS.value else []


def read_metadata(paths):
    """{path: what exiftool finds of KEPT}; empty where that is not installed."""
    if not shutil.which("exiftool"):
        return {}
    names = "\n".join(map(str, paths)).encode()
    line = ["exiftool", "-j", "-n", "-fast", *KEPT, "-@", "-"]
    told = subprocess.run(line, input=names, capture_output=True).stdout
    found = {pathlib.Path(tags.pop("SourceFile")): tags for tags in json.loads(told or "[]")}
    return {path: tags for path, tags in found.items() if tags}


def compare_metadata(photograph, before):
    """What exiftool finds in a file and not in one that we write of it."""
    if not before:
        return []
    kept = dataclasses.replace(photograph, alpha=None)
    made = photographs.encode(photograph.suffix, photograph.pixels[:8, :8], kept)
    line = ["exiftool", "-j", "-n", *KEPT, "-"]
    told = subprocess.run(line, input=made, capture_output=True).stdout
    after = json.loads(told or "[{}]")[0]
    return [f"{name} is lost" for name in before.keys() - after.keys()]


def damage(paths):
    """Reads damaged copies; nothing but a picture or one line may come of it, soon."""
    rng = np.random.default_rng(_SEED.value)
    small = [path for path in rng.permutation(paths) if path.stat().st_size <= SMALL]
    rank = collections.Counter()
    for number, path in enumerate(small):  # of all formats by turns
        small[number] = (rank[path.suffix], number, path)
        rank[path.suffix] += 1
    whole = (path for *_, path in sorted(small) if is_whole(path))
    good = list(itertools.islice(whole, 200))
    print(dict(collections.Counter(path.suffix for path in good)), flush=True)
    counts, slowest = collections.Counter(), 0
    for number in range(_DAMAGE.value):
        path = good[number % len(good)]
        data = bytearray(path.read_bytes())
        if number % 2:
            del data[rng.integers(len(data)) :]
        else:
            for place in rng.integers(0, len(data), rng.integers(1, 20)):
                data[place] = rng.integers(256)
        begin = time.monotonic()
        kind = read_damaged(bytes(data), path.suffix)
        slowest = max(slowest, time.monotonic() - begin)
        counts[kind.partition(":")[0]] += 1
        if kind not in ("restored", "refused"):
            print(f"{kind}: copy {number} of {path}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(good)} good files, {_DAMAGE.value} damaged, seed {_SEED.value}: {dict(counts)}")
    print(f"slowest {slowest:.1f} s, peak {peak:.2f} GB")


def is_whole(path):
    if video.is_video(path):
        return read_damaged(path.read_bytes(), path.suffix) == "restored"
    return compare(path)[0] == "equal"


def read_damaged(data, suffix):
    """ "restored", "refused", or what must not be."""
    with tempfile.TemporaryDirectory() as folder, errors.quiet():
        path = pathlib.Path(folder, f"damaged{suffix}")
        path.write_bytes(data)
        signal.alarm(SECONDS)
        try:
            if video.is_video(path):
                video.restore(lambda rgb: rgb, path, path.with_name(f"restored{suffix}"))
            else:
                photographs.open_photograph(path)
        except UserError as error:
            return "slow" if isinstance(error.__cause__, TimeoutError) else "refused"
        except BaseException as error:
            return f"failed: {type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
        try:
            if video.is_video(path):
                with av.open(path, metadata_errors="replace") as film:
                    if not any(map(decode, film.demux(video=0))):
                        raise ValueError("no frame")
            else:
                with Image.open(path) as picture:
                    picture.load()
        except Exception as error:
            return f"restored though refused: {type(error).__name__}: {error}"
    return "restored"


def decode(packet):
    """Its frames; none where it is damaged, as a player leaves them out."""
    try:
        return packet.decode()
    except av.FFmpegError:
        return []


if __name__ == "__main__":
    app.run(main)
