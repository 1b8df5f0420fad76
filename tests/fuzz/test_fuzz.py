"""Every harness for a short while, and the proof that each kind of failure would be found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import fuzz
import fuzz_worker
import pytest
from fuzz_values import Sample

from rnnverify.errors import FileError

SOUND = Sample("model.pt", {"model.pt": b"x"})


@pytest.mark.parametrize("name", fuzz_worker.HARNESSES)
def test_mutated_files_are_read_or_refused_in_one_sentence(name: str) -> None:
    searched = fuzz.search(name, "suite", 0, 60)
    assert searched.next == 60
    assert [str(finding) for finding in searched.findings] == []


@pytest.mark.parametrize("name", fuzz_worker.HARNESSES)
def test_a_seed_means_the_same_file_again(name: str) -> None:
    made = [fuzz_worker.make(name, "again", k) for k in range(4)]
    assert [fuzz_worker.make(name, "again", k) for k in range(4)] == made
    assert len({tuple(sample.files.values()) for sample in made}) > 1


def refuse(words: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        raise FileError(path, words)

    return read


def crash(path: Path) -> None:
    raise ZeroDivisionError(path)


@pytest.mark.parametrize(
    ("read", "words"),
    [(refuse("is no model"), ""), (refuse("is\nno model"), "not one printable sentence"), (crash, "ZeroDivisionError")],
)
def test_what_escapes_a_reader_is_found(
    read: Callable[[Path], None], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_worker, "_inspect", read)
    monkeypatch.setattr(fuzz_worker, "MEMORY", sys.maxsize)
    found = fuzz_worker.problem(fuzz_worker.write(SOUND, tmp_path / "now"))
    assert found.startswith(words) and bool(found) == bool(words)


def test_memory_and_strays_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fuzz_worker.write(SOUND, tmp_path / "now")
    monkeypatch.setattr(fuzz_worker, "_inspect", refuse("is no model"))
    monkeypatch.setattr(fuzz_worker, "MEMORY", 0)
    assert fuzz_worker.problem(path).startswith("took ")
    assert fuzz_worker.strays(SOUND, path.parent) == ""
    (path.parent / "made").touch()
    monkeypatch.setattr(fuzz_worker, "_done", ["os.system ls"])
    assert fuzz_worker.strays(SOUND, path.parent) == "did os.system ls; files were changed"


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program stands that `fuzz` takes for its worker."""
    path = tmp_path / "tests" / "fuzz" / "worker.py"
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(fuzz, "_WORKER", path)
    return path


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('sample 0', flush=True); import os; os.abort()", "the process died (-6)"),
        ("print('sample 0', flush=True); import time; time.sleep(60)", "did not end within"),
        ("print('sample 0'); print('finding 0: it broke')", "it broke"),
    ],
)
def test_a_worker_that_dies_or_hangs_is_a_finding(
    program: str, words: str, worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.write_text(program)
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)
    (finding,) = fuzz.search("npy", "s", 0, 1).findings
    assert finding.number == 0 and words in finding.words


@pytest.mark.parametrize("program", ["1 / 0", "print('making 0', flush=True); 1 / 0"])
def test_a_harness_that_fails_itself_is_no_pass(program: str, worker: Path) -> None:
    worker.write_text(program)
    with pytest.raises(RuntimeError, match=r"npy: sample 0 or one after it cannot be made: .*ZeroDivisionError"):
        fuzz.search("npy", "s", 0, 2)


def test_a_sample_that_h5py_does_not_survive_making_is_left_out(worker: Path) -> None:
    worker.write_text("import os; print('making 0', flush=True); os.abort()")
    assert fuzz.search("npy", "s", 0, 1) == fuzz.Searched((), 1)
