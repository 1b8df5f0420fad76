"""`--report FORMAT=FILE`: every report is written, also of an error, and none over another."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rnnverify.beside import Beside
from rnnverify.cli import app
from rnnverify.errors import OptionError


def options(folder: Path) -> list[str]:
    names = ("json", "markdown", "junit", "sarif", "github", "terminal")
    return [part for name in names for part in ("--report", f"{name}={folder / name}")]


def test_several_reports_of_one_comparison(fixtures: Path, tmp_path: Path) -> None:
    wrong = fixtures / "wrong" / "recurrent_transposed.pt"
    arguments = ["compare", str(fixtures / "rnn.pt"), str(wrong), "--engine", "reference", *options(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and "DIFFERENT" in result.stdout
    assert len(list(tmp_path.iterdir())) == 6
    for path in tmp_path.iterdir():
        assert "DIFFERENT" in path.read_text(encoding="utf-8"), path
    again = CliRunner().invoke(
        app, ["judge", str(tmp_path / "json"), "--atol", "10", "--report", f"github={tmp_path / 'again'}"]
    )
    assert again.exit_code in (0, 1) and (tmp_path / "again").read_text(encoding="utf-8").startswith("::")


def test_an_error_is_reported_everywhere(fixtures: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["compare", str(fixtures / "rnn.pt"), "nowhere.pt", *options(tmp_path)])
    assert result.exit_code == 2
    assert {path.name for path in tmp_path.iterdir() if "nowhere.pt" in path.read_text(encoding="utf-8")} == {
        "json",
        "markdown",
        "junit",
        "sarif",
        "github",
        "terminal",
    }
    assert json.loads((tmp_path / "json").read_text(encoding="utf-8"))["verdict"] == "ERROR"


@pytest.mark.parametrize("given", ["html", "yaml=a.yaml", "junit=", "=a", ""])
def test_what_is_no_report_is_one_sentence(given: str) -> None:
    with pytest.raises(OptionError, match="wanted FORMAT=FILE with one of terminal, json"):
        Beside([given]).prepare(None)


def test_two_reports_do_not_share_a_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="another report goes to that file"):
        Beside([f"junit={tmp_path / 'a'}", f"sarif={tmp_path / 'a'}"]).prepare(None)
    with pytest.raises(OptionError, match="another report goes to that file"):
        Beside([f"junit={tmp_path / 'a'}"]).prepare(tmp_path / "b" / ".." / "a")
    assert list(tmp_path.iterdir()) == []
