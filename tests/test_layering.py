"""Imports run one way, only runners import a framework, and the command line starts without NumPy."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import rnnverify

ORDER = [
    {"errors", "finding"},
    {"canonical", "output"},
    {"packed", "parametrised", "weight_map"},
    {"activations", "arrays", "live", "narrowing", "mistakes", "precision", "gate_symmetry"},
    {"gate_mistakes", "symmetry"},
    {"trace"},
    {"trace_file"},
    {"recorded", "step", "inputs", "probes"},
    {"cells"},
    {"reference", "lengths", "around", "suspects"},
    {"gradient"},
    {"rounding"},
    {"adequacy", "heatmap"},
    {"deviation"},
    {"comparison"},
    {"clips", "weights", "observed", "horizon", "remarks"},
    {"behind"},
    {"tolerance", "timeline", "model_outputs"},
    {"verdict"},
    {"search", "shrink", "alignment"},
    {"containers"},
    {"adapters"},
    {"onnx_data"},
    {"sides", "jobs", "runner_process", "targets"},
    {"native"},
    {"assumptions", "masked", "describe", "whole_model"},
    {"batches"},
    {"globs", "interpreters", "judge", "lock", "witness", "diagnosis", "porting"},
    {"options"},
    {"execution"},
    {"verify", "record", "inspection"},
    {"conversion", "config"},
    {"fixing", "outcomes"},
    {"cluster"},
    {"check"},
    {"reports"},
    {"saved", "testing", "beside"},
    {"pytest_plugin"},
    {"cli"},
    {"__main__"},
]
"""A unit (a module, or a folder of them) imports from lines above its own, and a folder from itself."""

RANK = {unit: rank for rank, units in enumerate(ORDER) for unit in units}
FRAMEWORKS = {"equinox", "flax", "jax", "keras", "onnx", "onnxruntime", "orbax", "tensorflow", "tf_keras", "torch"}
PACKAGE = Path(rnnverify.__file__).parent


def unit_of(module: str) -> str:
    """`rnnverify.containers.hdf5` -> `containers`; the package itself -> ``."""
    return module.split(".")[1] if "." in module else ""


def imported(source: str) -> Iterator[str]:
    """Every module that `source` imports by name, wherever in it; `from a import b` may mean a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def violations(sources: Mapping[str, str]) -> Iterator[str]:
    """What breaks the order, in modules given as dotted name -> source."""
    for module, source in sources.items():
        unit = unit_of(module)
        if unit not in RANK and unit not in ("", "runners"):
            yield f"{module} has no place in the order"
            continue
        for name in imported(source):
            top, other = name.partition(".")[0], unit_of(name)
            if top in FRAMEWORKS and unit != "runners":
                yield f"{module} imports the framework {top}"
            if top != "rnnverify" or name == "rnnverify.__version__":
                continue
            if unit == "runners":
                yield f"{module} imports {name}: runners stand alone"
            elif unit != "" and other != unit and RANK.get(other, len(ORDER)) >= RANK[unit]:
                yield f"{module} imports {name}, which does not come before it"


def sources() -> dict[str, str]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path.read_text(encoding="utf-8")
    return found


def test_imports_run_one_way() -> None:
    assert list(violations(sources())) == []


def test_the_order_names_what_there_is() -> None:
    units = {unit_of(module) for module in sources()}
    assert units - {"", "runners"} == set(RANK)


@pytest.mark.parametrize(
    ("module", "line", "words"),
    [
        ("canonical", "from rnnverify.judge import judge", "does not come before it"),
        ("canonical", "import rnnverify.judge", "does not come before it"),
        ("trace", "from rnnverify.comparison import Tolerance", "does not come before it"),
        ("rounding", "from rnnverify.comparison import Tolerance", "does not come before it"),
        ("arrays", "from rnnverify.trace import Run", "does not come before it"),
        ("containers.hdf5", "from rnnverify.adapters import keras", "does not come before it"),
        ("sides", "def f():\n    from rnnverify import native", "does not come before it"),
        ("judge", "from rnnverify import compare", "does not come before it"),
        ("adapters.torch", "import torch.nn", "imports the framework torch"),
        ("adapters.flax", "from flax import linen", "imports the framework flax"),
        ("native", "import importlib\nimportlib.import_module('keras')", "imports the framework keras"),
        ("runners.run_torch", "from rnnverify.errors import FileError", "runners stand alone"),
        ("another", "", "has no place in the order"),
    ],
)
def test_a_planted_violation_is_found(module: str, line: str, words: str) -> None:
    planted = {f"rnnverify.{module}": sources().get(f"rnnverify.{module}", "") + f"\n{line}\n"}
    (found,) = violations(planted)
    assert words in found


def test_what_is_allowed_passes() -> None:
    allowed = {
        "rnnverify.judge": "from rnnverify.sides import Opened",
        "rnnverify.reports.json": "from rnnverify import __version__\nfrom rnnverify.reports import terminal",
        "rnnverify.runners.run_torch": "import torch",
    }
    assert list(violations(allowed)) == []


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that a clean process has loaded after `statement`."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["rnnverify", "rnnverify.cli"])
def test_the_command_line_starts_with_next_to_nothing(module: str) -> None:
    assert not loaded_after(f"import {module}") & {"numpy", "rich", "h5py", "safetensors", "msgpack", *FRAMEWORKS}


def test_file_forms_pay_only_for_themselves() -> None:
    found = loaded_after("import rnnverify.verify, rnnverify.inspection")
    assert "numpy" in found
    assert not found & {"rich", "h5py", "safetensors", "msgpack", "tensorstore", *FRAMEWORKS}


def test_no_module_but_runners_loads_a_framework() -> None:
    modules = sorted(m for m in sources() if unit_of(m) not in ("runners", "__main__"))
    assert not loaded_after("import " + ", ".join(modules)) & FRAMEWORKS
