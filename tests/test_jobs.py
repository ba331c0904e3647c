"""Which files are restored, and what each becomes."""

import io
import os
import sys

import pytest

from tf_deblur.errors import UserError
from tf_deblur.restoring import jobs


def test_a_heics_result_is_a_jpeg_and_replaces_nothing(tmp_path):
    told = {(): "a_restored.jpg", ("overwrite",): "a_restored.jpg", ("format",): "a_restored.png"}
    told["format", "overwrite"] = "a_restored.png"
    for options, name in told.items():
        options = {option: {"format": "png", "overwrite": True}[option] for option in options}
        for suffix in (".HEIC", ".heif", ".hif"):
            (job,) = jobs.plan([str(tmp_path / f"a{suffix}")], **options)
            assert job.target == tmp_path / name


@pytest.mark.parametrize(
    "name, format, result",
    [
        ("a.png", None, "a.png"),
        ("a.png", "png", "a.png"),
        ("a.png", "jpg", "a_restored.jpg"),
        ("a.mp4", "jpg", "a.mp4"),
        ("a.wmv", None, "a_restored.mkv"),
    ],
)
def test_overwriting_replaces_an_original_and_no_file_beside_it(name, format, result):
    (job,) = jobs.plan([name], overwrite=True, format=format)
    assert str(job.target) == result


def test_a_list_comes_from_standard_input_too_with_zero_bytes(monkeypatch):
    names = ["a name.png", "two\nlines.png", os.fsdecode(b"not utf-8 \xff.png")]
    data = b"".join(os.fsencode(name) + b"\0" for name in names)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert jobs.read_list("-") == names


def test_what_a_folder_holds_beside_pictures_is_counted(tmp_path):
    (tmp_path / "deeper/.hidden").mkdir(parents=True)
    for name in ("a.jpg", "a.mp4", "a.CR2", ".b", "b.txt", "c", "deeper/d.txt", "deeper/e.png"):
        (tmp_path / name).touch()
    told = "folders 1 (--recursive takes them), raw files 1 (develop them first), other files 2"
    assert jobs.describe_passed_over([str(tmp_path), str(tmp_path / "a.jpg")], False) == told
    assert jobs.describe_passed_over([str(tmp_path / "dee*")], False) == "other files 1"
    told = "raw files 1 (develop them first), other files 3"
    assert jobs.describe_passed_over([str(tmp_path)], True) == told
    assert jobs.describe_passed_over([str(tmp_path / "b.txt"), "-"], False) == ""


def test_a_raw_file_is_called_so_and_an_output_is_a_folder(tmp_path):
    raw = tmp_path / "a.NEF"
    assert not jobs.plan([str(raw)])[0].problem  # there is none, which is said in its turn
    raw.touch()
    assert "a raw file" in jobs.plan([str(raw)])[0].problem
    with pytest.raises(UserError, match="into a folder; --output=x, say"):
        jobs.plan(["a.png"], output="x/b.png")
    (tmp_path / "album.jpg").mkdir()
    jobs.plan(["a.png"], output=str(tmp_path / "album.jpg"))


@pytest.mark.parametrize("content", [None, "", "\n\n", "a.png\n-\n"])
def test_a_list_that_names_nothing_is_one_line(content, tmp_path):
    if content is not None:
        (tmp_path / "list").write_text(content)
    with pytest.raises(UserError, match=r"list: (cannot|names no|-)"):
        jobs.read_list(tmp_path / "list")


def test_a_link_to_itself_does_not_stop_the_others(tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    for options in ({}, {"overwrite": True}):
        jobs.plan([str(tmp_path / "loop.png"), str(tmp_path / "a.png")], **options)
    assert not jobs.exists(tmp_path / "loop.png")


def test_overwriting_takes_the_place_of_a_name_of_any_length(tmp_path):
    for name in ("ä" * 122 + "b.png", "c" * 251 + ".png", "d" * 240 + ".png"):
        (job,) = jobs.plan([str(tmp_path / name)], overwrite=True, compare=True)
        assert job.target == tmp_path / name and job.overwrites
        assert len(os.fsencode(job.beside.name)) <= 255


def test_of_names_that_differ_in_case_each_has_its_result_alone_and_together(tmp_path):
    names = {"x.JPG": "x_JPG_restored.jpg", "x.jpg": "x_restored.jpg"}
    for name in names:
        (tmp_path / name).touch()
    paths = [str(tmp_path / name) for name in names]
    for named in (paths, *([path] for path in paths)):
        for job in jobs.plan(named, format="jpg"):
            assert job.target.name == names[job.source.name] and not job.problem


@pytest.mark.parametrize("overwrite", [False, True])
def test_one_original_under_two_names_is_done_once(tmp_path, overwrite):
    """By a link beside it, too, where both would replace the same file."""
    (tmp_path / "a.png").touch()
    (tmp_path / "link.png").symlink_to("a.png")
    names = [tmp_path] if overwrite else [tmp_path / "a.png", os.path.relpath(tmp_path / "a.png")]
    first, second = jobs.plan([str(name) for name in names], overwrite=overwrite)
    assert not first.problem and not second.problem and (first.done, second.done) == (False, True)


def test_another_name_of_what_is_refused_is_not_done(tmp_path):
    """Its result would replace an original."""
    for name in ("a.png", "a_restored.png"):
        (tmp_path / name).touch()
    first, second = tmp_path / "a.png", os.path.relpath(tmp_path / "a.png")
    planned = jobs.plan([str(first), str(tmp_path / "a_restored.png"), second])
    assert [bool(job.problem) for job in planned] == [True, False, True]
