"""Files and folders that appear whole or not at all, and replace others without harm."""

import os
import pathlib
import threading

import pytest

from tf_deblur import files


def test_what_replaces_a_file_has_its_mode_and_owner(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o640)
    if os.getuid() == 0:
        os.chown(tmp_path / "a", 1234, 2345)
    before = (tmp_path / "a").stat()
    with files.whole(tmp_path / "a") as part:
        part.write_text("new")
        assert part.parent.stat().st_mode & 0o077 == 0  # nobody else reads what is not done
    after = (tmp_path / "a").stat()
    assert (tmp_path / "a").read_text() == "new"
    for fact in ("st_mode", "st_uid", "st_gid"):
        assert getattr(after, fact) == getattr(before, fact)


def test_a_new_file_is_as_readable_as_any(tmp_path):
    (tmp_path / "plain").touch()
    with files.whole(tmp_path / "new") as part:
        part.touch()
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    path = tmp_path / ("a" * 251 + ".png")
    with files.whole(path) as part:
        assert part.suffix == ".png"
        part.touch()
    assert list(tmp_path.iterdir()) == [path]


def test_of_a_link_to_a_folder_the_folder_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far/old").touch()
    (tmp_path / "near").symlink_to("far")
    with files.whole(tmp_path / "near") as part:
        part.mkdir()
        (part / "new").touch()
    assert (tmp_path / "near").is_symlink()
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} >= {"far/new"}
    assert sorted(os.listdir(tmp_path)) == ["far", "near"]
    assert os.listdir(tmp_path / "far") == ["new"]


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(ValueError), files.whole(tmp_path / "a") as part:
        part.write_text("new")
        raise ValueError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_parts_have_names_that_cannot_be_guessed(tmp_path):
    rooms = set()
    for _ in range(3):
        with files.whole(pathlib.Path(tmp_path, "a")) as part:
            part.touch()
            rooms.add(part.parent)
    assert len(rooms) == 3 and all(room.parent == tmp_path for room in rooms)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("tidy", [lambda: None, files.abandon], ids=["alone", "abandoned"])
def test_a_folder_whose_successor_is_interrupted_comes_back(tmp_path, monkeypatch, moved, tidy):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").touch()
    rename = pathlib.Path.rename

    def interrupt(path, target):  # as a signal, before or after the old folder is moved away
        monkeypatch.undo()
        if moved:
            rename(path, target)
        tidy()
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_lock", threading.RLock())  # which `abandon` never releases
    with pytest.raises(KeyboardInterrupt), files.whole(tmp_path / "a") as part:
        part.mkdir()
        monkeypatch.setattr(pathlib.Path, "rename", interrupt)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["a", "a/old"]
