"""What a config may say, and what it is told where it says something else."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from rnnverify.config import find_config, read_config
from rnnverify.errors import FileError

PAIR = '[[compare]]\nname = "a"\nsides = ["a.h5", "a.pt"]\n'


def written(folder: Path, text: str, name: str = "rnnverify.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    text = """
growth = 3
[defaults]
steps = 16
atol = 1e-4
[[compare]]
name = "a"
sides = ["keras:a.h5", "a.pt#encoder.rnn"]
expect = "EQUIVALENT"
activation = ["B=relu"]
inputs = "x.npy"
lengths = "8,3"
steps = 8
probes = false
"""
    config = read_config(written(tmp_path, text))
    (declared,) = config.comparisons
    assert config.growth == 3.0
    assert declared.sides == (f"keras:{tmp_path}/a.h5", f"{tmp_path}/a.pt#encoder.rnn")
    assert declared.expect == ("IDENTICAL", "EQUIVALENT")
    options = declared.options
    assert (options.inputs.steps, options.inputs.probes, options.inputs.file) == (8, False, tmp_path / "x.npy")
    assert (options.tolerance.atol, options.assumed.activations) == (1e-4, ("B=relu",))
    assert options.inputs.lengths == (8, 3)
    words = shlex.split(declared.command)
    assert words[words.index("--lengths") + 1] == "8,3"
    assert words[:2] == ["rnnverify", "compare"] and "--no-probes" in words
    assert words[words.index("--activation") + 1] == "B=relu"


def test_the_file_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"is not here, nor \[tool.rnnverify\]"):
        find_config()
    project = written(tmp_path, "[project]\nname = 'p'\n", "pyproject.toml")
    with pytest.raises(FileError, match="is not here"):
        find_config()
    project.write_text("[project]\nname = 'p'\n[[tool.rnnverify.compare]]\nname = 'a'\nsides = ['a.h5', 'a.pt']\n")
    assert [each.sides for each in read_config(find_config()).comparisons] == [("a.h5", "a.pt")]
    written(tmp_path, PAIR)
    assert find_config() == Path("rnnverify.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[compare", "is no TOML"),
        ("", "declares no comparison; write [[compare]]"),
        ("[[compares]]\n", "an unknown key 'compares'; did you mean compare?"),
        (PAIR + "activaton = 'relu'\n", "an unknown key 'activaton'; did you mean activation?"),
        (PAIR + "merge-mode = 'sum'\n", "did you mean merge_mode?"),
        ("[defaults]\nname = 'x'\n" + PAIR, "[defaults] has an unknown key 'name'"),
        (PAIR + "steps = '8'\n", "has steps = '8'; wanted a whole number"),
        (PAIR + "steps = true\n", "wanted a whole number"),
        (PAIR + "probes = 1\n", "wanted true or false"),
        (PAIR + "steps = 0\n", "comparison 'a': --steps 0: at least 1 is needed"),
        (PAIR + "lengths = [5]\n", "has lengths = [5]; wanted a text such as '8,4'"),
        (PAIR + "lengths = '5;6'\n", "comparison 'a': --lengths 5;6: wanted whole numbers of steps"),
        (PAIR + "engine = 'keras'\n", "comparison 'a': engine 'keras': wanted one of"),
        (PAIR + "expect = 'SAME'\n", "expects 'SAME'; known verdicts are IDENTICAL"),
        (PAIR + "python = 'C=python3'\n", "the sides are A, B"),
        (PAIR + "activation_error = 'much'\n", "wanted ULPS or ULPS,U"),
        ("growth = 0.5\n" + PAIR, "growth is 0.5; wanted a number from 1 up"),
        (PAIR + PAIR, "two comparisons of the name 'a'"),
        ("[[compare]]\nsides = ['a', 'b']\n", "number 1 has no name"),
        ("[[compare]]\nname = 'a'\nsides = ['a']\n", "has 1 sides; wanted 2 to 26"),
        ("compare = 3\n", "declares no comparison"),
        ("compare = [3]\n", "is 3; wanted a table"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FileError) as caught:
        read_config(written(tmp_path, text))
    assert said in str(caught.value) and "rnnverify.toml" in str(caught.value) and "\n" not in str(caught.value)
