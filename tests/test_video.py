"""Videos: what is kept of them, file by file; with the pixels as they were, nothing changes."""

import os
import resource
import shutil
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from av.filter import Graph
from commands import python

from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import video
from tf_deblur.pictures.video_writer import ACCURATE, COLOURS
from tf_deblur.restoring import jobs

BT709, BT601, HDR10, JPEG = (1, 1, 1, 1), (1, 6, 6, 6), (1, 9, 9, 16), (2, 5, 2, 2)
UNEVEN = (0, 40, 95, 200, 220, 333, 335, 500, 640, 701, 800, 999)  # milliseconds
# name: how it is made, and what its result has: size as displayed, and codec
CLIPS = {
    "rotated.mp4": ({"codec": "libx264", "turn": 90, "sound": ["aac"]}, (120, 160), "h264"),
    "uneven.mkv": ({"codec": "libx264", "times": UNEVEN, "colours": BT601}, (160, 120), "h264"),
    "deep.mp4": (
        {"codec": "libx265", "pix_fmt": "yuv420p10le", "colours": HDR10, "sound": ["aac", "ac3"]},
        *((160, 120), "hevc"),
    ),
    "odd.mp4": (
        {"codec": "libx264", "pix_fmt": "yuv444p", "size": (641, 481), "frames": 4},
        *((641, 481), "h264"),
    ),
    "motion.avi": (
        {"codec": "mjpeg", "pix_fmt": "yuvj420p", "colours": JPEG, "sound": ["mp3"]},
        *((160, 120), "mjpeg"),
    ),
}
OPTIONS = {"libx265": {"x265-params": "log-level=none"}, "mjpeg": {"qmin": "2", "qmax": "2"}}


def make(
    path,
    codec,
    pix_fmt="yuv420p",
    size=(160, 120),
    frames=12,
    times=None,
    colours=BT709,
    turn=0,
    sound=(),
    words=None,
    time_code=None,
):
    """A clip of FFmpeg's own test source; `times` are milliseconds, 25 a second if None."""
    step = Fraction(1, 1000) if times else Fraction(1, 25)
    options = {"movflags": "use_metadata_tags"} if words else {}
    with av.open(path, "w", container_options=options) as film:
        facts = {"width": size[0], "height": size[1], "time_base": step, "pix_fmt": pix_fmt}
        picture = film.add_stream(codec, 25, OPTIONS.get(codec, {}), **facts)
        tag(picture.codec_context, colours)
        if turn:
            picture.set_display_rotation(turn)
        tracks = [film.add_stream(name, rate=48000, layout="stereo") for name in sound]
        film.metadata.update(words or {"title": "Übung"})
        if time_code:
            picture.metadata["timecode"] = time_code
        for number, rgb in enumerate(test_source(size, frames)):
            rgb.color_range, rgb.colorspace = colours[:2]
            image = rgb.reformat(format=pix_fmt, interpolation=ACCURATE)
            tag(image, colours)
            image.pts, image.time_base = times[number] if times else number, step
            film.mux(picture.encode(image))
            for track in tracks:
                film.mux(track.encode(tone(number, 440 + 100 * track.index)))
        for stream in (picture, *tracks):
            film.mux(stream.encode(None))


def tag(to, colours):
    for name, value in zip(COLOURS, colours):
        setattr(to, name, value)


def test_source(size, frames):
    graph = Graph()
    nodes = [graph.add("testsrc2", f"size={size[0]}x{size[1]}"), graph.add("format", "rgb24")]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return [graph.pull() for _ in range(frames)]


test_source.__test__ = False


def tone(number, hertz):
    """A frame's time of sound, 1/25 s."""
    time = np.arange(number * 1920, (number + 1) * 1920) / 48000
    wave = np.sin(2 * np.pi * hertz * time).astype(np.float32) / 4
    frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48000, number * 1920, Fraction(1, 48000)
    return frame


def tell(path):
    """What a file has, by another reading of it: frames, and the packets of its other tracks."""
    with av.open(path) as film:
        frames = list(film.decode(video=0))
    with av.open(path) as film:
        packets = [packet for packet in film.demux() if packet.size]
        others = [(p.stream.type, p.pts * p.time_base, bytes(p)) for p in packets if p.stream_index]
        return (
            film.metadata.get("title"),
            film.streams.video[0].codec.canonical_name,
            frames,
            others,
        )


def luma(frame):
    deep = max(part.bits for part in frame.format.components) > 8
    rows = np.frombuffer(frame.planes[0], "<u2" if deep else np.uint8).reshape(frame.height, -1)
    return rows[:, : frame.width] / (1023 if deep else 255)


def worst_psnr(frames, others):
    errors = [np.mean((luma(a) - luma(b)) ** 2) for a, b in zip(frames, others, strict=True)]
    return -10 * np.log10(max(errors))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name, (how, *_) in CLIPS.items():
        make(folder / name, **how)
    return folder


@pytest.fixture(scope="module")
def restored(clips, small_workdir):
    """All of them by one command, which changes no pixel; its lines, and the folder."""
    line = ["-m", "tf_deblur.deblur", "--model", small_workdir, "--strength=0"]
    done = python(*line, *CLIPS, cwd=clips)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("name", CLIPS)
def test_all_is_kept_of_a_clip_whose_pixels_do_not_change(name, clips, restored):
    how, (width, height), codec = CLIPS[name]
    title, _, frames, sound = tell(clips / name)
    title_kept, codec_kept, kept, sound_kept = tell(clips / name.replace(".", "_restored."))
    assert f"{name} -> {name.replace('.', '_restored.')} ({width}x{height}, " in restored
    assert len(kept) == how.get("frames", 12) and title_kept == title == "Übung"
    times = [[frame.pts * frame.time_base for frame in some] for some in (kept, frames)]
    assert times[0] == times[1]
    if "times" in how:
        assert times[0] == [Fraction(time, 1000) for time in UNEVEN]
    first = kept[0]
    turned = (first.height, first.width) if first.rotation % 180 else (first.width, first.height)
    assert turned == (width, height) and first.rotation == frames[0].rotation == how.get("turn", 0)
    colours = [tuple(getattr(image, tag) for tag in COLOURS) for image in (first, frames[0])]
    assert colours[0] == colours[1] == how.get("colours", BT709)
    assert first.format.name == how.get("pix_fmt", "yuv420p") and codec_kept == codec
    assert len({packet[0] for packet in sound}) == bool(how.get("sound"))
    assert sound_kept == sound
    assert worst_psnr(kept, frames) > 45


def test_a_change_arrives_in_every_format(clips, tmp_path):
    """Darker by a quarter: by so much less light above black, whatever range and depth."""
    for name, (how, *_) in CLIPS.items():
        target = tmp_path / name
        video.restore(lambda rgb: (rgb * 0.75).astype(rgb.dtype), clips / name, target)
        black = 0 if how.get("colours") == JPEG else 16 / 255
        before, after = (np.mean([luma(f) for f in tell(p)[2]]) for p in (clips / name, target))
        assert after - black == pytest.approx(0.75 * (before - black), abs=0.01), name


def test_rotation_is_applied_where_a_container_does_not_tell_of_it(tmp_path):
    """As stored the picture lies; a quarter turn counter-clockwise stands it up."""
    make(tmp_path / "clip.mp4", "libx264", turn=90)
    (frame, *_) = tell(tmp_path / "clip.mp4")[2]
    video.restore(lambda rgb: rgb, tmp_path / "clip.mp4", tmp_path / "clip.mkv")
    (kept, *_) = tell(tmp_path / "clip.mkv")[2]
    assert (kept.width, kept.height, kept.rotation) == (120, 160, 0)
    upright = np.rot90(luma(frame))
    assert np.abs(luma(kept) - upright).mean() < 0.02 < np.abs(luma(kept) - upright[::-1]).mean()


@pytest.mark.parametrize(
    "name, how",
    [
        ("clip.mkv", {"codec": "libx264"}),
        ("clip.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p", "colours": JPEG}),
    ],
)
def test_a_clip_cut_short_is_restored_as_far_as_it_goes(name, how, tmp_path):
    make(tmp_path / f"whole_{name}", frames=50, **how)
    data = (tmp_path / f"whole_{name}").read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    line = video.restore(lambda rgb: rgb, tmp_path / name, tmp_path / f"kept_{name}")
    frames, kept = (tell(tmp_path / f"{what}_{name}")[2] for what in ("whole", "kept"))
    assert 5 < len(kept) < 45 and f"{len(kept)} frames, though its header tells of 2.0 s" in line
    assert worst_psnr(kept[:-1], frames[: len(kept) - 1]) > 40  # the last one is half there


def test_a_mov_keeps_its_time_code_and_a_telephones_words(tmp_path):
    words = {"com.apple.quicktime.make": "Apple", "title": "T"}
    make(tmp_path / "clip.mov", "libx264", words=words, time_code="01:02:03:04")
    line = video.restore(lambda rgb: rgb, tmp_path / "clip.mov", tmp_path / "kept.mov")
    assert line == "160x120, 12 frames"
    with av.open(tmp_path / "kept.mov") as film:
        assert words.items() <= film.metadata.items()
        assert [track.type for track in film.streams] == ["video", "data"]
        assert {track.metadata["timecode"] for track in film.streams} == {"01:02:03:04"}


def test_a_matroska_file_keeps_subtitles_attachments_and_chapters(tmp_path):
    chapter = {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000)}
    with av.open(tmp_path / "clip.mkv", "w") as film:
        picture = film.add_stream("libx264", 25, width=160, height=120)
        subtitles = film.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        subtitles.metadata["language"] = "deu"
        film.add_attachment("font.ttf", "application/x-truetype-font", b"abc" * 50)
        film.set_chapters([chapter | {"metadata": {"title": "Anfang"}}])
        film.mux(picture.encode(av.VideoFrame(160, 120, "yuv420p")))
        words = av.Packet(b"Hallo")
        words.stream, words.pts, words.dts, words.duration = subtitles, 20, 20, 200
        words.time_base = subtitles.time_base
        film.mux(words)
        film.mux(picture.encode(None))
    video.restore(lambda rgb: rgb, tmp_path / "clip.mkv", tmp_path / "kept.mkv")
    assert tell(tmp_path / "kept.mkv")[3] == [("subtitle", Fraction(20, 1000), b"Hallo")]
    with av.open(tmp_path / "kept.mkv") as film:
        _, subtitles, attachment = film.streams
        assert (subtitles.language, attachment.name) == ("deu", "font.ttf")
        assert attachment.data == b"abc" * 50
        assert [part["metadata"]["title"] for part in film.chapters()] == ["Anfang"]
    video.restore(lambda rgb: rgb, tmp_path / "clip.mkv", tmp_path / "bare.mkv", metadata=False)
    with av.open(tmp_path / "bare.mkv") as film:
        assert [stream.type for stream in film.streams] == ["video", "subtitle"]
        assert film.streams[1].language is None and not film.chapters()


@pytest.mark.parametrize("content", [b"not a video", b"", None])
def test_what_is_no_video_is_one_line(content, tmp_path):
    if content is not None:
        (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(UserError, match=r"clip.mp4: (not a video|no such file)"):
        video.restore(lambda rgb: rgb, tmp_path / "clip.mp4", tmp_path / "kept.mp4")
    assert not (tmp_path / "kept.mp4").exists()


def test_sound_alone_is_one_line(tmp_path):
    with av.open(tmp_path / "clip.mp4", "w") as film:
        track = film.add_stream("aac", rate=48000, layout="stereo")
        film.mux(track.encode(tone(0, 440)))
        film.mux(track.encode(None))
    with pytest.raises(UserError, match=r"clip.mp4: no video in it"):
        video.restore(lambda rgb: rgb, tmp_path / "clip.mp4", tmp_path / "kept.mp4")


def test_a_failure_while_restoring_leaves_nothing_and_ends_the_threads(clips, tmp_path):
    def fail(rgb):
        raise UserError("too little memory")

    with pytest.raises(UserError, match="too little memory"):
        video.restore(fail, clips / "uneven.mkv", tmp_path / "kept.mkv")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_leaves_nothing_half_written(clips, small_workdir, tmp_path):
    """A limit on a file's size stands in: the kernel refuses to write on, as a full disk does."""
    before = (clips / "deep.mp4").read_bytes()
    assert len(before) > 16_000
    (tmp_path / "deep.mp4").write_bytes(before)
    line = [
        sys.executable,
        "-m",
        "tf_deblur.deblur",
        "--model",
        small_workdir,
        "--overwrite",
    ]
    done = subprocess.run(
        [*line, "--strength=0", "deep.mp4"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, 16_000)),
    )
    assert (done.returncode, done.stderr) == (
        1,
        "error: deep.mp4: cannot be written (File too large)\n",
    )
    assert os.listdir(tmp_path) == ["deep.mp4"] and (tmp_path / "deep.mp4").read_bytes() == before


def test_a_video_is_overwritten_with_all_its_tracks(clips, tmp_path):
    (job,) = jobs.plan([str(clips / "deep.mp4")], overwrite=True)
    assert job.problem is None and job.target == job.source
    film = tmp_path / "deep.mp4"
    shutil.copy(clips / "deep.mp4", film)
    video.restore(lambda rgb: rgb, film, film)
    assert tell(film)[3] == tell(clips / "deep.mp4")[3]


def test_words_are_left_out_when_asked(tmp_path):
    place = {"com.apple.quicktime.location.ISO6709": "+48.1+011.5/", "title": "home"}
    make(tmp_path / "a.mov", "libx264", words=place)
    video.restore(lambda rgb: rgb, tmp_path / "a.mov", tmp_path / "b.mov", metadata=False)
    with av.open(tmp_path / "b.mov") as film:
        assert not place.keys() & film.metadata.keys()


def test_sound_of_joined_films_goes_on(tmp_path):
    make(tmp_path / "one.ts", "libx264", sound=["aac"])
    one = (tmp_path / "one.ts").read_bytes()
    (tmp_path / "two.ts").write_bytes(one + one)
    video.restore(lambda rgb: rgb, tmp_path / "two.ts", tmp_path / "out.ts")
    sound = [tell(tmp_path / name)[3] for name in ("one.ts", "two.ts", "out.ts")]
    assert [packet[2] for packet in sound[2]] == [packet[2] for packet in sound[1]]
    times = [packet[1] for packet in sound[2]]
    assert times == sorted(times) and len(times) >= 2 * len(sound[0]) - 1


def test_a_track_that_begins_past_the_head_is_told(tmp_path):
    late = tmp_path / "late.flv"
    with av.open(late, "w") as film:
        picture = film.add_stream("libx264", 1, width=64, height=48, pix_fmt="yuv420p")
        track = film.add_stream("libmp3lame", rate=44100, layout="stereo")
        track.codec_context.open()
        for number in range(100):
            image = av.VideoFrame(64, 48, "yuv420p")
            image.pts, image.time_base = number, Fraction(1)
            film.mux(picture.encode(image))
        film.mux(picture.encode(None))
        frame = av.AudioFrame("fltp", "stereo", 1152)
        frame.sample_rate, frame.pts, frame.time_base = 44100, 95 * 44100, Fraction(1, 44100)
        film.mux([*track.encode(frame), *track.encode(None)])
    told = video.restore(lambda rgb: rgb, late, tmp_path / "out.flv")
    assert told.startswith("64x48, 100 frames, ") and told.endswith(
        "without a track that begins late"
    )


def test_a_matroska_file_that_begins_late_is_whole(tmp_path):
    make(tmp_path / "late.mkv", "libx264", times=[5000 + 40 * n for n in range(12)])
    told = video.restore(lambda rgb: rgb, tmp_path / "late.mkv", tmp_path / "out.mkv")
    assert told == "160x120, 12 frames"


def test_a_folder_that_cannot_be_made_is_named(clips, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/out\.mp4: cannot be written"):
        video.restore(lambda rgb: rgb, clips / "deep.mp4", tmp_path / "file/out.mp4")


def test_photographs_do_not_load_the_library_for_videos(picture, tmp_path):
    from tf_deblur.pictures import photographs

    photographs.write(tmp_path / "photo.png", picture(24, 24))
    code = (
        "import sys; from tf_deblur import deblur; from tf_deblur.restoring import jobs;"
        "from tf_deblur.pictures import photographs; jobs.plan(['photo.png']);"
        "photographs.open_photograph('photo.png'); sys.exit('av' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == 0


def test_a_list_of_films_in_a_films_name_is_not_followed(clips, tmp_path):
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {clips / 'odd.mp4'}\n")
    shutil.copy(clips / "odd.mp4", tmp_path)
    (tmp_path / "beside.mp4").write_text("ffconcat version 1.0\nfile odd.mp4\n")
    for name in ("list.mp4", "beside.mp4"):
        with pytest.raises(BadPicture, match=f"{name}: not a video"):
            video.restore(lambda rgb: rgb, tmp_path / name, tmp_path / "out.mp4")


def test_where_pyav_is_missing_a_film_is_one_line_and_pictures_go_on(clips, picture, tmp_path):
    from tf_deblur.pictures import photographs

    photographs.write(tmp_path / "photo.png", picture(24, 24))
    shutil.copy(clips / "uneven.mkv", tmp_path)
    code = "import sys; sys.modules['av'] = None; from tf_deblur import deblur; deblur.cli()"
    done = python("-c", code, ".", cwd=tmp_path)
    assert done.returncode == 1 and (tmp_path / "photo_restored.png").exists()
    assert done.stderr.count("\n") == 1 and "uneven.mkv: videos want PyAV" in done.stderr
    assert "pip install av" in done.stderr


def test_frames_of_more_megapixels_are_refused(clips, tmp_path):
    with pytest.raises(BadPicture, match="641x481 pixels, more than 0.3 megapixels"):
        source = clips / "odd.mp4"
        video.restore(lambda rgb: rgb, source, tmp_path / "out.mp4", megapixels=0.3)


def test_an_avis_header_counts_its_sound_in_packets(clips, restored):
    """As `ffmpeg -c copy` writes it; its players take so much time as the header tells."""
    head = (clips / "motion_restored.avi").read_bytes()
    place = head.index(b"auds")
    length, _, _, sample = np.frombuffer(head[place + 32 : place + 48], "<u4")
    sound = [packet for packet in tell(clips / "motion.avi")[3] if packet[0] == "audio"]
    assert (length, sample) == (len(sound), 0)


@pytest.mark.parametrize("codec", ["aac", "ac3", "mp2", "pcm_s16le", "adpcm_ms", "adpcm_ima_wav"])
def test_sound_of_an_avi_keeps_its_times(codec, tmp_path):
    make(tmp_path / "clip.avi", "mpeg4", frames=25, sound=[codec])
    video.restore(lambda rgb: rgb, tmp_path / "clip.avi", tmp_path / "kept.avi")
    *_, sound = tell(tmp_path / "clip.avi")
    assert len(sound) > 9 and tell(tmp_path / "kept.avi")[3] == sound
    assert abs(sound[-1][1] - 1) < 0.1  # of 25 frames


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mp4"])
def test_words_of_old_films_stay_the_bytes_that_they_are(suffix, tmp_path):
    path, kept = tmp_path / f"clip{suffix}", tmp_path / f"kept{suffix}"
    make(path, "mpeg4", frames=3)
    latin = "Übung ".encode("latin-1")
    path.write_bytes(path.read_bytes().replace("Übung".encode(), latin))
    video.restore(lambda rgb: rgb, path, kept)
    assert latin in kept.read_bytes()


def test_a_cameras_data_make_its_film_no_longer(tmp_path):
    """Twelve frames are 0.48 s, for all that a last packet of GoPro's is told to take 1 s."""
    with av.open(tmp_path / "clip.mp4", "w") as film:
        picture = film.add_stream("libx264", 25, width=160, height=120)
        positions = film.add_data_stream("bin_data")
        for number in range(12):
            image = av.VideoFrame(160, 120, "yuv420p")
            image.pts = number
            film.mux(picture.encode(image))
        film.mux(picture.encode(None))
        packet = av.Packet(b"DEVC")
        packet.stream, packet.time_base, packet.dts, packet.pts = positions, Fraction(1, 1000), 0, 0
        packet.duration = 1001
        film.mux(packet)
    video.restore(lambda rgb: rgb, tmp_path / "clip.mp4", tmp_path / "kept.mp4")
    data = (tmp_path / "kept.mp4").read_bytes()
    scale, duration = np.frombuffer(data, ">u4", 2, data.index(b"mvhd") + 16)
    assert duration / scale == 0.48
    assert [packet[2] for packet in tell(tmp_path / "kept.mp4")[3]] == [b"DEVC"]


@pytest.mark.parametrize("data", [b"\0\0\0\x08free", b"\0\0\0\x10moov\0\0\0\x08trak"])
def test_a_film_without_a_header_of_its_times_does_not_stop_the_others(data, tmp_path):
    from tf_deblur.pictures import containers

    (tmp_path / "clip.mp4").write_bytes(data)
    containers.mend_duration(tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == data


def test_a_matroska_files_cover_stays_one(picture, tmp_path):
    from tf_deblur.pictures import photographs

    cover = photographs.encode(".jpg", picture(16, 16))
    with av.open(tmp_path / "clip.mkv", "w") as film:
        stream = film.add_stream("libx264", 25, width=160, height=120)
        film.add_attachment("cover.jpg", "image/jpeg", cover)
        film.mux(stream.encode(av.VideoFrame(160, 120, "yuv420p")))
        film.mux(stream.encode(None))
    told = video.restore(lambda rgb: rgb, tmp_path / "clip.mkv", tmp_path / "kept.mkv")
    assert told == "160x120, 1 frames"
    with av.open(tmp_path / "kept.mkv") as film:
        _, kept = film.streams
        assert kept.disposition.name == "attached_pic"
        assert next(bytes(packet) for packet in film.demux(kept)) == cover


@pytest.mark.parametrize(
    "name, lost", [("alpha.webm", "its transparency"), ("sph.mp4", "its marks of 360 degrees")]
)
def test_what_a_film_loses_is_said(name, lost, shared, tmp_path):
    line = video.restore(lambda rgb: rgb, shared / "cases" / name, tmp_path / name)
    assert f"without {lost}" in line
    with av.open(tmp_path / name) as film:
        assert "alpha_mode" not in film.streams.video[0].metadata


def test_what_was_not_written_whole_does_not_replace_a_film(clips, tmp_path, monkeypatch):
    from tf_deblur.pictures import video_writer

    shutil.copy(clips / "uneven.mkv", tmp_path / "a.mkv")
    before = (tmp_path / "a.mkv").read_bytes()
    monkeypatch.setattr(video_writer.Writer, "add", lambda self, *images: None)
    with pytest.raises(UserError, match="a.mkv: as before"):
        video.restore(lambda rgb: rgb, tmp_path / "a.mkv", tmp_path / "a.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]
    assert (tmp_path / "a.mkv").read_bytes() == before
