"""action.yml, the hooks and the README's snippets are held against the command line, so that they cannot rot.

`fresh.py` runs them, which takes minutes.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import fresh
import pytest
import typer.main
import yaml

from rnnverify.cli import app
from rnnverify.config import read_config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = set(PROJECT["optional-dependencies"])


def problems(command: str) -> list[str]:
    """What is wrong with a command of ours: its name, its options, how many arguments it has."""
    words = shlex.split(command)
    group: Any = typer.main.get_command(app)
    if words[0] != "rnnverify" or words[1] not in group.commands:
        return [f"no command: {' '.join(words[:2])}"]
    try:
        group.commands[words[1]].make_context("rnnverify", words[2:])
    except Exception as error:  # click's own, or that of the click inside typer, by version
        if "UsageError" not in [base.__name__ for base in type(error).__mro__]:
            raise
        return [str(error)]
    return []


def snippet(key: str) -> Any:
    return next(found for found in map(yaml.safe_load, fresh.blocks(README)) if key in found)


def test_the_action_is_one_that_github_takes() -> None:
    assert {"name", "description", "inputs", "runs"} == set(ACTION) and ACTION["runs"]["using"] == "composite"
    for step in ACTION["runs"]["steps"]:
        assert ("uses" in step) != ("run" in step) and ("run" not in step or step["shell"] == "bash")
        assert "${{" not in step.get("run", ""), "an input is never part of a script"
        for text in (step.get("env") or step.get("with")).values():
            for expression in re.findall(r"\$\{\{\s*(.*?)\s*\}\}", text):
                assert expression == "github.action_path" or expression.removeprefix("inputs.") in ACTION["inputs"]


def test_the_action_runs_what_there_is() -> None:
    given = fresh.workflow_inputs(README)
    assert set(given) <= set(ACTION["inputs"])
    for inputs in ({name: each["default"] for name, each in ACTION["inputs"].items()}, given):
        assert problems(f"rnnverify {inputs['arguments']} --report markdown=a.md --report github=a.txt") == []
        assert set(inputs["extras"].split(",")) <= EXTRAS
    for mentioned in re.findall(r'"(\w+ [^"]*)"', ACTION["inputs"]["arguments"]["description"]):
        assert problems(f"rnnverify {mentioned}") == []
    script = "".join(step.get("run", "") for step in ACTION["runs"]["steps"])
    for path in re.findall(r"\$ACTION/([\w.]+)", script):
        assert (ROOT / path).exists(), path
    (imported,) = re.findall(r"from rnnverify\.cli import (\w+)", script)
    assert callable(getattr(__import__("rnnverify.cli", fromlist=[imported]), imported))
    low, high = re.findall(r"3\.\d+", ACTION["inputs"]["python-version"]["description"])
    assert PROJECT["requires-python"] == f">={low},<3.{int(high[2:]) + 1}"


def test_the_hook_runs_what_there_is_where_a_model_changes() -> None:
    assert problems(HOOK["entry"]) == [] and HOOK["language"] == "python" and HOOK["pass_filenames"] is False
    config = snippet("repos")["repos"][0]["hooks"][0]
    assert config["id"] == HOOK["id"] and set(config["additional_dependencies"]) <= EXTRAS | {"tf-keras"}
    for name in ("rnnverify.toml", "rnnverify.lock", "pyproject.toml", "a/model.keras", "model.ckpt.index", "x.pt2"):
        assert re.search(HOOK["files"], name), name
    fixtures = [path.name for path in (ROOT / "fixtures").iterdir() if path.is_file()]
    others = (".py", ".json", "-00000-of-00001")
    assert all(re.search(HOOK["files"], name) for name in fixtures if not name.endswith(others))
    assert not re.search(HOOK["files"], "README.md") and not re.search(HOOK["files"], "model.py")


def test_the_gitlab_job_runs_what_there_is() -> None:
    job = snippet("port")["port"]
    install, check = job["script"]
    assert set(re.findall(r"\[([\w,]+)\]", install)[0].split(",")) <= EXTRAS
    assert problems(check) == []
    for kind, path in job["artifacts"]["reports"].items():
        assert f"--report {kind}={path}" in check


def test_the_config_of_the_readme_is_one(tmp_path: Path) -> None:
    path = tmp_path / "rnnverify.toml"
    path.write_text(fresh.config(README))
    (only,) = read_config(path).comparisons
    assert (only.name, [Path(side).name for side in only.sides]) == ("port", ["model.h5", "model.pt"])
    for side in ("keras/a.h5", "torch/a.pt"):
        (tmp_path / side).parent.mkdir()
        (tmp_path / side).touch()
    path.write_text(README.partition("```toml\n")[2].partition("```")[0])
    assert [declared.name for declared in read_config(path).comparisons] == ["port", "encoder", "family-a"]


def test_every_command_of_the_readme_parses() -> None:
    commands = re.findall(r"^    (rnnverify (?!--)\S+ .*?)(?:   .*)?$", README, re.MULTILINE)
    assert len(commands) >= 7
    assert {command: problems(command) for command in commands if problems(command)} == {}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("rnnverify chek", "no command: rnnverify chek"),
        ("rnnverify check --repot junit=a.xml", "No such option: --repot"),
        ("rnnverify check model.h5", "unexpected extra argument"),
        ("rnnverify compare --atol much a b", "'much' is not a valid float"),
    ],
)
def test_a_command_that_rotted_is_noticed(command: str, words: str) -> None:
    assert words in problems(command)[0]
