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


@pytest.mark.parametrize("content", [None, "", "\n\n", "a.png\n-\n"])
def test_a_list_that_names_nothing_is_one_line(content, tmp_path):
    if content is not None:
        (tmp_path / "list").write_text(content)
    with pytest.raises(UserError, match=r"list: (cannot|names no|-)"):
        jobs.read_list(tmp_path / "list")
