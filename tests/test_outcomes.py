"""Comparisons made from another working directory, as a worker of a cluster does, read the same and report the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rnnverify.config import Declared, read_config
from rnnverify.native import Runners
from rnnverify.outcomes import Outcome, outcomes
from rnnverify.runner_process import Limits
from rnnverify.sides import parse

CONFIG = """
[defaults]
engine = "reference"
[[compare]]
name = "inputs"
sides = ["simple_rnn.h5", "rnn.pt"]
inputs = "inputs.npy"
python = "B=./mine"
[[compare]]
name = "gone"
sides = ["simple_rnn.h5", "gone.pt"]
[[compare]]
name = "no-inputs"
sides = ["simple_rnn.h5", "rnn.pt"]
inputs = "none.npy"
"""


@pytest.fixture
def folder(tmp_path: Path, fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("simple_rnn.h5", "rnn.pt", "inputs.npy"):
        shutil.copy(fixtures / name, tmp_path)
    (tmp_path / "mine").write_text("#!/bin/sh\n")
    (tmp_path / "mine").chmod(0o755)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "rnnverify.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(chosen: tuple[Declared, ...], folder: Path = Path()) -> list[Outcome]:
    with Runners(Limits()) as runners:
        return list(outcomes(chosen, runners, folder))


def test_the_working_directory_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = read_config(Path("rnnverify.toml")).comparisons
    here = made(chosen)
    assert [each.result is not None for each in here] == [True, False, False]
    assert here[0].result and here[0].result.inputs["origin"] == "inputs.npy"
    assert here[1].error.startswith("gone.pt: ") and here[1].file == "gone.pt"
    monkeypatch.chdir("elsewhere")
    assert made(chosen, folder) == here
    (folder / "mine").unlink()
    (first, *_) = made(chosen, folder)
    assert f"--python B={folder}/mine: is no program" in first.error


def test_a_source_is_looked_for_in_its_folder(folder: Path) -> None:
    (folder / "elsewhere" / "a#b").touch()
    assert parse("a#b", "A", folder / "elsewhere").selector is None
    assert parse("a#b", "A", folder).selector == "b"
    assert parse("torch:rnn.pt#rnn", "A", folder).path == folder / "rnn.pt"
    assert parse("rnn.pt", "A").path == Path("rnn.pt")
    assert parse(str(folder / "rnn.pt"), "A", Path("/nowhere")).path == folder / "rnn.pt"
