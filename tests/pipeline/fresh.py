"""From nothing to a red and then a green job in a repository with one Keras and one PyTorch file, by the README alone.

    python tests/pipeline/fresh.py [action gitlab pre-commit]

The steps of action.yml, the GitLab script of the README and the pre-commit hook are run as their runners would, from
the commit that is checked out here, each in an environment of its own; that installs the frameworks anew and takes
minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def run(script: str, folder: Path, **environment: str) -> int:
    """A step, as runners run it. Versions are those of the tests, so that it is this commit alone that is tried."""
    pinned = {"PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **pinned, **environment},
        check=False,
    )
    return done.returncode


def action(checkout: Path, repository: Path, temporary: Path) -> int:
    """The composite steps of action.yml with the inputs that its defaults and the README give."""
    described = yaml.safe_load((checkout / "action.yml").read_text())
    given = workflow_inputs((checkout / "README.md").read_text())
    values = {name: str(given.get(name, each["default"])) for name, each in described["inputs"].items()}
    for step in described["runs"]["steps"]:
        if "uses" in step:  # setup-python: this one has its place
            continue
        environment = {name: filled(text, values, checkout) for name, text in step.get("env", {}).items()}
        places = {"RUNNER_TEMP": str(temporary), "GITHUB_STEP_SUMMARY": str(temporary / "summary.md")}
        code = run(step["run"], repository, **places, **environment)
        if code:
            break
    print((temporary / "summary.md").read_text())
    return code


def filled(text: str, inputs: Mapping[str, str], checkout: Path) -> str:
    """`text` with its expressions replaced by what the runner would put there."""
    values = {f"inputs.{name}": value for name, value in inputs.items()} | {"github.action_path": str(checkout)}
    return re.sub(r"\$\{\{\s*(.*?)\s*\}\}", lambda match: values[match[1]], text)


def blocks(readme: str) -> list[str]:
    """The YAML of the README."""
    return re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)


def config(readme: str) -> str:
    """The first comparison of the rnnverify.toml of the README."""
    block = readme.partition("```toml\n")[2].partition("```")[0]
    return "[[compare]]" + block.split("[[compare]]")[1]


def workflow_inputs(readme: str) -> dict[str, str]:
    """What the workflow of the README gives the action."""
    steps = next(found["jobs"]["port"]["steps"] for found in map(yaml.safe_load, blocks(readme)) if "jobs" in found)
    inputs: dict[str, str] = next(step["with"] for step in steps if "rnnverify" in step["uses"])
    return inputs


def gitlab(checkout: Path, repository: Path, temporary: Path) -> int:
    """The script of the README's .gitlab-ci.yml, with this checkout in place of the address."""
    readme = (checkout / "README.md").read_text()
    job = next(found["port"] for found in map(yaml.safe_load, blocks(readme)) if "port" in found)
    bin_ = environment_in(temporary / "gitlab")
    for line in job["script"]:
        line = re.sub(r"git\+https://[\w./-]+", f"git+file://localhost{checkout}", line)
        code = run(line, repository, PATH=f"{bin_}:{os.environ['PATH']}")
        if code:
            break
    missing = [name for name in job["artifacts"]["reports"].values() if not (repository / name).exists()]
    assert not missing, f"no artifact {missing}"
    return code


def pre_commit(checkout: Path, repository: Path, temporary: Path) -> int:
    """The hook, as the README says to declare it."""
    bin_ = environment_in(temporary / "pre-commit")
    if not (bin_ / "pre-commit").exists():
        subprocess.run([bin_ / "python", "-m", "pip", "install", "--quiet", "pre-commit"], check=True)
    hooks = next(block for block in blocks((checkout / "README.md").read_text()) if "repos:" in block)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True)
    hooks = re.sub(r"https://\S+", str(checkout), hooks).replace("COMMIT", head.stdout.strip())
    (repository / ".pre-commit-config.yaml").write_text(hooks)
    subprocess.run(["git", "add", "--all"], cwd=repository, check=True)
    places = {"PATH": f"{bin_}:{os.environ['PATH']}", "PRE_COMMIT_HOME": str(temporary / "hooks")}
    return run("pre-commit run --all-files --verbose", repository, **places)


def environment_in(folder: Path) -> Path:
    if not folder.exists():
        venv.create(folder, with_pip=True)
    return folder / "bin"


def main(names: list[str]) -> None:
    ways: dict[str, Callable[[Path, Path, Path], int]] = {"action": action, "gitlab": gitlab, "pre-commit": pre_commit}
    with tempfile.TemporaryDirectory(prefix="fresh-") as name:
        folder = Path(name)
        checkout, repository = folder / "rnnverify", folder / "repository"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
        repository.mkdir()
        subprocess.run(["git", "init", "--quiet"], cwd=repository, check=True)
        (repository / "rnnverify.toml").write_text(config((checkout / "README.md").read_text()))
        shutil.copy(ROOT / "fixtures" / "simple_rnn.h5", repository / "model.h5")
        for way in names or ways:
            # pre-commit has an exit code of its own for any hook that fails
            for file, wanted in (("wrong/recurrent_transposed.pt", 1), ("rnn.pt", 0)):
                shutil.copy(ROOT / "fixtures" / file, repository / "model.pt")
                print(f"\n{way}: {file} as model.pt", flush=True)
                code = ways[way](checkout, repository, folder)
                print(f"{way}: exit code {code}", flush=True)
                if code != wanted:
                    sys.exit(f"{way}: exit code {code}, wanted {wanted}")


if __name__ == "__main__":
    main(sys.argv[1:])
