"""What is written is whole, and never takes the place of what is no plain file."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import IO

import pytest

from rnnverify.errors import OutputError
from rnnverify.output import folder_beside, put_in_place, write_whole


def hello(file: IO[bytes]) -> None:
    file.write(b"hello")


def test_a_new_file_and_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for _ in range(2):
        write_whole(path, hello)
        assert path.read_bytes() == b"hello" and list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fail)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"before")
    link.symlink_to(target)
    write_whole(link, hello)
    assert link.is_symlink() and target.read_bytes() == b"hello"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, hello)
    reader.join()
    assert pipe.is_fifo() and read == [b"hello"]


@pytest.mark.parametrize("place", ["no/such/folder", ".", "loop"])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OutputError, match=r"cannot be written \(.*\); choose another place with -o"):
        write_whole(tmp_path / place, hello)


def test_files_are_put_in_place_together(tmp_path: Path) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    places[0].write_bytes(b"before")
    with folder_beside(places[0]) as folder:
        made = [folder / "a", folder / "b"]
        for file in made:
            file.write_bytes(b"after")
        put_in_place(dict(zip(made, places, strict=True)))
    assert [place.read_bytes() for place in places] == [b"after", b"after"]
    assert sorted(tmp_path.iterdir()) == places


def test_where_one_file_fails_all_are_as_before(tmp_path: Path) -> None:
    places = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    places[0].write_bytes(b"before")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "inside").touch()
    with folder_beside(places[0]) as folder:
        made = [folder / name for name in ("a", "b", "missing")]
        for file in made[:2]:
            file.write_bytes(b"after")
        with pytest.raises(OutputError, match=r"a: cannot be written \(.*\); choose another place"):
            put_in_place(dict(zip(made, places, strict=True)))
    assert places[0].read_bytes() == b"before" and not places[1].exists() and (places[2] / "inside").exists()
    assert sorted(tmp_path.iterdir()) == [places[0], places[2]]


def test_a_folder_beside_goes_with_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), folder_beside(tmp_path / "out") as folder:
        (folder / "half").write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="cannot be written"), folder_beside(tmp_path / "no" / "out"):
        pass
