"""Every fixture is listed with where it came from, and is the very file that was listed."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOT_LISTED = {"make.py", "make_graphs.py", "make_gates.py", "make_converted.py", "origin.json"}


def problems(folder: Path) -> Iterator[str]:
    listed = json.loads((folder / "origin.json").read_text())
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    present = {name: path for name, path in files.items() if name not in NOT_LISTED and "__pycache__" not in path.parts}
    yield from (f"{name} is not listed" for name in present if name not in listed)
    yield from (f"{name} is listed, and absent" for name in listed if name not in present)
    for name in present.keys() & listed.keys():
        if listed[name]["sha256"] != hashlib.sha256(present[name].read_bytes()).hexdigest():
            yield f"{name} is not the file that was listed"
        if not listed[name].get("origin"):
            yield f"{name} has no origin"


def test_every_fixture_is_the_one_listed() -> None:
    assert sorted(problems(FIXTURES)) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.pt").write_bytes(b"")
    (tmp_path / "make.py").touch()
    listed = {"bad/a.pt": {"origin": "make.py", "sha256": hashlib.sha256(b"").hexdigest()}}
    (tmp_path / "origin.json").write_text(json.dumps(listed))
    return tmp_path


def test_the_check_passes_and_fails(folder: Path) -> None:
    assert list(problems(folder)) == []
    (folder / "bad" / "a.pt").write_bytes(b"changed")
    assert list(problems(folder)) == ["bad/a.pt is not the file that was listed"]
    (folder / "bad" / "a.pt").rename(folder / "b.pt")
    assert list(problems(folder)) == ["b.pt is not listed", "bad/a.pt is listed, and absent"]


def test_an_origin_is_more_than_a_sum(folder: Path) -> None:
    listed = {"bad/a.pt": {"origin": "", "sha256": hashlib.sha256(b"").hexdigest()}}
    (folder / "origin.json").write_text(json.dumps(listed))
    assert list(problems(folder)) == ["bad/a.pt has no origin"]
