"""Mistakes that people reported of networks with gates, each planted in files and recordings: its cause comes first."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import engines
import pytest
from gated_files import FORMS, can_hold
from known_gated import KNOWN, SHAPES, Known
from networks import batches

import rnnverify
from rnnverify.canonical import CellKind, Network
from rnnverify.comparison import Comparison
from rnnverify.inputs import InputOptions
from rnnverify.mistakes import same
from rnnverify.trace import save
from rnnverify.verify import Options

OPTIONS = Options(engine="reference", inputs=InputOptions(sequences=4, steps=12))
ROUNDING = 2e-6  # of states within 1, and of cell states of a few

CASES = [
    pytest.param(known, cell, shape, id=f"{name}-{cell}-{shape}")
    for name, known in KNOWN.items()
    for cell in known.cells
    for shape in known.shapes
]


def compared(*sides: str) -> Comparison:
    return rnnverify.compare(*sides, options=OPTIONS)


def check(result: Comparison, known: Known, proof: str) -> None:
    assert result.verdict == "DIFFERENT"
    findings = result.pairs[0].findings
    assert sorted(finding.name for finding in findings) == sorted(known.names)
    for finding in findings:
        assert (finding.side, finding.proof) == ("B", proof)
        if proof != "suspected":
            assert finding.after is not None and finding.after <= ROUNDING * max(1, finding.before or 0)


def pairs_of(known: Known, right: Network, wrong: Network, path: Path) -> list[tuple[str, str]]:
    """Frameworks that can hold the one and the other, each once on each side at most."""
    ours = [form for form in known.right if can_hold(form, right, path)]
    theirs = [form for form in known.wrong if can_hold(form, wrong, path)]
    found: list[tuple[str, str]] = []
    for a, b in permutations(FORMS, 2):
        if a in ours and b in theirs and not any(a == x or b == y for x, y in found):
            found.append((a, b))
    return found or [(a, a) for a in ours if a in theirs]


@pytest.mark.parametrize(("known", "cell", "shape"), CASES)
def test_two_files(known: Known, cell: CellKind, shape: str, tmp_path: Path) -> None:
    right = SHAPES[shape](cell)
    wrong = known.plant(right)
    assert not same(right, wrong)
    pairs = pairs_of(known, right, wrong, tmp_path)
    assert pairs
    for k, (a, b) in enumerate(pairs):
        one, other = FORMS[a](right, tmp_path / f"right{k}"), FORMS[b](wrong, tmp_path / f"wrong{k}")
        check(compared(one, other), known, known.proof)


@pytest.mark.parametrize(("known", "cell", "shape"), [case for case in CASES if case.values[0].recorded])
def test_a_recording(known: Known, cell: CellKind, shape: str, tmp_path: Path) -> None:
    right = SHAPES[shape](cell)
    form = next(form for form in ("torch", "onnx", "keras") if can_hold(form, right, tmp_path))
    trace = tmp_path / "wrong.npz"
    save(engines.run(known.plant(right), batches(right, 4, 12), "naive"), trace)
    check(compared(FORMS[form](right, tmp_path / "right"), str(trace)), known, "confirmed")
