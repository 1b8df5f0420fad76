"""`--save-witness`: the smallest case found in which two sides differ, saved, and the one command that replays it.

One sequence, the shortest prefix, inputs zeroed where possible. What is announced is what the frameworks gave when that
very case was run again, by itself: the command prints the same number. A recording cannot be run on other inputs, so of
a pair with one the recording itself is cut, and takes its place in the command.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np

from rnnverify.assumptions import OPTIONS, Assumed
from rnnverify.canonical import Network
from rnnverify.comparison import Comparison, Pair, Witness
from rnnverify.deviation import Tolerance, measure
from rnnverify.errors import printable
from rnnverify.observed import Observed
from rnnverify.output import write_whole
from rnnverify.rounding import check
from rnnverify.shrink import Judged, shrink
from rnnverify.trace import FROM_H0, PROBE, SEARCH, ZERO, Batch, Run, Trace
from rnnverify.trace_file import save

Replay = Callable[[Sequence[str], Path | None], Comparison]
"""Compare sources, on the inputs of a file where one is given, with the options of the comparison at hand."""


@dataclass(frozen=True)
class Asked:
    """What the user asked for: where the witness goes, the sources, and the options that a replay needs."""

    path: Path
    sources: tuple[str, ...]
    assumed: Assumed
    tolerance: Tolerance
    engine: str
    probes: bool
    more: tuple[str, ...] = ()  # other options that a replay has to be told

    def command(self, sources: Sequence[str], inputs: bool) -> tuple[str, ...]:
        """The arguments of `rnnverify compare` on `sources`, with `path` as the inputs or among the sources."""
        options = ["--inputs", str(self.path)] * inputs
        for name, values in zip(OPTIONS, astuple(self.assumed), strict=True):
            options += [part for value in values for part in ("--" + name.replace("_", "-"), value)]
        options += ["--engine", self.engine] * (self.engine != "auto")
        options += [] if self.probes else ["--no-probes"]
        options += self.more
        for name in ("atol", "rtol"):
            value = getattr(self.tolerance, name)
            options += [f"--{name}", repr(float(value))] * (value > 0)
        dashed = any(source.startswith("-") for source in sources)
        given = [*options, "--", *sources] if dashed else [*sources, *options]
        return ("rnnverify", "compare", *given)


@dataclass(frozen=True)
class _Case:
    """One sequence of a batch in which the two sides part."""

    name: str  # of the batch
    sequence: int
    steps: int  # of its prefix, which is enough where the network only runs forward


def save_witness(asked: Asked, result: Comparison, sides: Sequence[Observed], replay: Replay) -> Witness:
    """Find, check and write the witness of the first pair that is DIFFERENT; its note says why, where there is none.

    Raises OutputError where the file cannot be written, and whatever a comparison raises.
    """
    index = next((k for k, pair in enumerate(result.pairs) if pair.verdict == "DIFFERENT"), None)
    if index is None:
        return Witness("no witness was written: no pair is DIFFERENT")
    pair, baseline, candidate = result.pairs[index], sides[0], sides[index + 1]
    name = f"{pair.candidate}-{pair.baseline}"
    recordings = [side.label for side in sides if side.network is None]
    if baseline.network is None and candidate.network is None:
        return Witness(f"no witness was written: both sides of {name} are recordings, there is nothing to run")
    if recordings and len(sides) > 2:
        alone = f"{pair.baseline} and {pair.candidate}"
        return Witness(f"no witness was written: {', '.join(recordings)} cannot be run again; compare {alone} alone")
    case = _find(pair, baseline, candidate, asked.tolerance)
    if case is None:
        advice = "" if pair.searched else "; try --search"
        return Witness(f"no witness was written: these inputs show no difference of the states beyond rounding{advice}")
    if recordings:
        return _save_recording(asked, case, sides, name, replay)
    with tempfile.TemporaryDirectory(prefix="rnnverify-") as folder:
        trial = Path(folder) / "witness.npz"
        for batch in _attempts(pair, baseline, candidate, case, asked.tolerance):
            _write(batch, baseline.network or candidate.network, trial)
            again = replay(asked.sources, trial).pairs[index]
            if _is_shown(again):
                _copy(trial, asked.path)
                return _announce(_words(batch), asked, again, asked.command(asked.sources, inputs=True))
    return Witness(f"no witness was written: sequence {case.sequence} does not fail where it is run by itself")


def _find(pair: Pair, baseline: Observed, candidate: Observed, tolerance: Tolerance) -> _Case | None:
    """The sequence that fails after the fewest steps; from zero states where there is one."""
    for name in (ZERO, SEARCH, FROM_H0, PROBE):
        if name in baseline.trace.runs and name in candidate.trace.runs:
            runs = baseline.trace.runs[name], candidate.trace.runs[name]
            found = _first(pair, (baseline, candidate), runs, tolerance)
            if found:
                return _Case(name, *found)
    return None


def _first(
    pair: Pair, sides: tuple[Observed, Observed], runs: tuple[Run, Run], tolerance: Tolerance
) -> tuple[int, int] | None:
    """The sequence that fails first, and after how many steps."""
    network = sides[0].network or sides[1].network
    T = runs[0].y.shape[1]

    def failing(steps: int) -> tuple[int, int | None] | None:
        """(sequence, first step) of what fails within `steps`."""
        cut = [_cut(run, slice(None), steps) for run in runs]
        if tolerance or network is None or not all(pair.budgets):
            deviation = measure(cut[0].y, cut[1].y, pair.tolerance)
            return (deviation.at[0], deviation.first_step) if deviation.beyond else None
        budgets = [
            check(network, [run], side.arithmetic, sides[1].network) for run, side in zip(cut, sides, strict=True)
        ]
        beyond = [budget for budget in budgets if budget and not budget.holds]
        steps_of = [budget.first_step for budget in beyond if budget.first_step is not None]
        worst = max(beyond, key=lambda budget: budget.used, default=None)
        return (worst.at[0], min(steps_of, default=None)) if worst else None

    found = failing(T)
    if found is None:
        return None
    sequence, first = found
    if first is None or not _only_forward(sides):
        return sequence, T
    within = failing(first + 1)
    return (within or found)[0], first + 1


def _only_forward(sides: Sequence[Observed]) -> bool:
    known = [side.network for side in sides if side.network]
    return not any(direction.reverse for network in known for _, _, direction in network.directions())


def _cut(run: Run, sequences: slice, steps: int) -> Run:
    """The first `steps` of some sequences of a run."""
    T = run.y.shape[1]
    batch, rows = run.batch, (sequences, slice(None, steps))
    return Run(
        batch.of(sequences, slice(None, steps)),
        run.y[rows],
        tuple(h[sequences] for h in run.h_n) if steps == T else (),
        tuple(states[rows] for states in run.states),
        tuple(c[sequences] for c in run.c_n) if steps == T else (),
    )


def _attempts(
    pair: Pair, baseline: Observed, candidate: Observed, case: _Case, tolerance: Tolerance
) -> Iterator[Batch]:
    """Forms of `case`, the smallest first: what shrinks on the references, then what was recorded."""
    run = candidate.trace.runs[case.name]
    T = run.y.shape[1]
    whole = _cut(run, slice(case.sequence, case.sequence + 1), T).batch
    assert baseline.network and candidate.network
    by_budget = all(pair.budgets)
    limit = Tolerance(2 * pair.tolerance.atol, 2 * pair.tolerance.rtol) if tolerance or not by_budget else None
    judged = Judged(baseline.network, candidate.network, candidate.arithmetic, by_budget, limit)
    small = shrink(judged, whole, case.steps if _only_forward((baseline, candidate)) else 1)
    if small:
        yield small
    if case.steps < T:
        yield replace(whole, x=whole.x[:, : case.steps])
    yield whole


def _write(batch: Batch, network: Network | None, path: Path) -> None:
    """`batch` as a file of inputs. Zero states are written too: without them a replay would add random ones."""
    assert network
    zeros = [[np.zeros((1, size), batch.x.dtype) for size in each] for each in network.state_sizes()]
    given = zip(("h0", "c0"), (batch.h0, batch.c0), zeros, strict=True)
    states = {f"{name}_{k}": state for name, own, zero in given for k, state in enumerate(own or zero)}
    with path.open("wb") as file:
        np.savez(file, x=batch.x, **states)  # type: ignore[arg-type]  # the stubs take every name for a keyword of savez


def _copy(trial: Path, path: Path) -> None:
    write_whole(path, lambda file: file.write(trial.read_bytes()), "--save-witness")


def _is_shown(pair: Pair) -> bool:
    """Whether the states of `pair` differ, not only its weights."""
    if pair.verdict != "DIFFERENT":
        return False
    if all(pair.budgets):
        return not all(budget.holds for budget in pair.budgets if budget)
    return pair.headline.deviation.beyond > 0


def _words(batch: Batch) -> str:
    count = int(np.count_nonzero(batch.x))
    states = any(np.any(state) for state in batch.starts)
    steps = batch.x.shape[1]
    size = f"1 sequence of {steps} step{'s' * (steps > 1)}"
    inputs = f"{count} of {batch.x.size} inputs not zero" if count else "all inputs zero"
    return f"{size}, {inputs}, from {'its own' if states else 'zero'} states"


def _announce(words: str, asked: Asked, again: Pair, command: tuple[str, ...]) -> Witness:
    deviation = again.headline.deviation
    size = math.nan if any(deviation.nonfinite) else deviation.max_abs
    pair = f"{again.candidate}-{again.baseline}"
    return Witness(words, printable(asked.path, 300), pair, size, command)


def _save_recording(asked: Asked, case: _Case, sides: Sequence[Observed], name: str, replay: Replay) -> Witness:
    """Cut the recording of a pair to its failing sequence and prefix."""
    index = next(k for k, side in enumerate(sides) if side.network is None)
    trace = sides[index].trace
    run = trace.runs[case.name]
    runs = {case.name: _cut(run, slice(case.sequence, case.sequence + 1), case.steps)}
    if case.name != ZERO:  # a trace file has a run from zero states: one step of it
        runs = {ZERO: _cut(trace.runs[ZERO], slice(0, 1), 1), **runs}
    with tempfile.TemporaryDirectory(prefix="rnnverify-") as folder:
        trial = Path(folder) / "witness.npz"
        save(Trace(runs, trace.provenance), trial)
        sources = [str(trial) if k == index else source for k, source in enumerate(asked.sources)]
        again = replay(sources, None).pairs[0]
        if not _is_shown(again):
            return Witness(f"no witness was written: sequence {case.sequence} of {name} does not fail by itself")
        _copy(trial, asked.path)
    given = [str(asked.path) if k == index else source for k, source in enumerate(asked.sources)]
    steps = f"{case.steps} step{'s' * (case.steps > 1)}"
    words = f"{steps} of sequence {case.sequence} of the recording {sides[index].label}"
    return _announce(words, asked, again, asked.command(given, inputs=False))
