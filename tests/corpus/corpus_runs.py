"""Every genuine case: read, run by its own framework on the recorded inputs, and held against the recorded outputs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from corpus_cases import Case
from corpus_recorded import Recorded, deviation, recorded, submodel

from rnnverify import reference
from rnnverify.around import Head
from rnnverify.arrays import open_npz
from rnnverify.assumptions import Assumed, settle
from rnnverify.errors import RnnverifyError, RunnerError, SelectorError
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.runner_process import Limits
from rnnverify.sides import Opened, open_side, parse
from rnnverify.trace import Run, Trace
from rnnverify.whole_model import with_outputs

TORCH_ACTIVATIONS = {"tanh", "relu"}  # what nn.RNN computes; anything else runs by the reference in `compare` too
GATES = {"hard_sigmoid": "keras2_hard_sigmoid", "hard_sigmoid3": "hard_sigmoid"}  # as the corpus calls them


@dataclass
class Part:
    """One recurrent part of a case, read."""

    given: str  # path#selector, as on the command line
    side: Opened
    record: Recorded
    trace: Trace | None = None
    native: bool = False
    fault: str = ""  # what is wrong with it; empty where it met the record


@dataclass
class Outcome:
    """What came of one case."""

    case: Case
    parts: list[Part] = field(default_factory=list)
    any_part: bool = False  # the file leaves the choice open, and one of the parts has to meet the record
    refusal: str = ""
    expected: bool = True  # whether such a refusal was to be expected
    fault: str = ""  # what went wrong outside of the parts

    @property
    def wrong(self) -> str:
        faults = [part.fault for part in self.parts]
        if self.any_part and not all(faults):
            return self.fault
        return self.fault or next(filter(None, faults), "")


def run_all(cases: Sequence[Case], engine: str) -> list[Outcome]:
    """Read every case, run what could be read, and compare. `engine` is native or reference."""
    outcomes = [read(case) for case in cases]
    parts = [part for outcome in outcomes for part in outcome.parts]
    if engine == "native":
        run_natively(parts)
    for part in parts:
        if part.trace is None and not part.fault:
            assert part.side.network is not None
            trace = reference.run(part.side.network, part.record.batches)
            part.trace = with_outputs(trace, head_of(part.side))
        if part.trace is not None:
            share, where = deviation(part.record, part.trace)
            part.fault = f"{part.given}: {where}, {share:.3g} times the limit" if not share <= 1 else ""
    return outcomes


def read(case: Case) -> Outcome:
    """The parts of a case that can be compared with its record, or why there are none."""
    outcome = Outcome(case)
    try:
        for given in choices(case):
            side = settled(case, open_side(parse(given, "A")))
            record = recorded(case, side, open_npz(case.folder / "io.npz"))
            width = record.batches[0].x.shape[2]
            if side.network is None or side.network.input_size != width:
                raise LookupError(f"{given}: reads another number of features than the {width} recorded")
            outcome.parts.append(Part(given, side, record))
        outcome.any_part = len(outcome.parts) > 1 and not case.submodels
    except RnnverifyError as error:
        outcome.refusal, outcome.parts = str(error), []
        outcome.expected = not case.must_load
    except LookupError as error:
        outcome.fault = str(error)
    except Exception as error:  # whatever else escapes is a fault of the tool
        outcome.fault = f"{type(error).__name__} escaped: {error}"
    return outcome


def choices(case: Case) -> list[str]:
    """What to give the tool for a case: its path, or where that is ambiguous what the error offers, pasted.

    Layers that are stored apart are stacked where as many are offered as the model has layers.
    """
    given = str(case.path)
    try:
        open_side(parse(given, "A"))
    except SelectorError as error:
        given = given.removesuffix(".index")
        offered = [name for name in re.findall(re.escape(given) + r"#([^,;\s]+)", str(error)) if "+" not in name]
        if not offered:
            raise
        if len(offered) == case.facts.get("layers") and not case.submodels:
            return [f"{given}#{'+'.join(offered)}"]
        return [f"{given}#{name}" for name in offered]
    return [given]


def gates_of(case: Case, side: Opened) -> str:
    """What the gates of a file compute that does not say it; empty where it does."""
    known = str(case.facts.get("recurrent_activation"))
    return GATES.get(known, known) if side.reading and "gate_activation" in side.reading.open else ""


def settled(case: Case, side: Opened) -> Opened:
    """`side` with what its file leaves open set by options."""
    return settle([side], assumed(case, side))[0]


def assumed(case: Case, side: Opened) -> Assumed:
    """The options that a user who knows the model would give."""
    reading, facts = side.reading, case.facts
    assert reading is not None and side.network is not None
    known: dict[str, tuple[str, ...]] = {}
    if gates := gates_of(case, side):
        known["gate_activations"] = (gates,)
    if "reset" in reading.open:
        known["gru_resets"] = ("after" if facts["reset_after"] else "before",)
    if "forget_bias" in reading.open and facts.get("forget_bias") is not None:
        known["forget_biases"] = (str(facts["forget_bias"]),)
    if reading.activation_stated:
        return Assumed(**known)
    part = submodel(case, side.network.input_size, side.network.output_size)
    known["activations"] = (part.activation if part else facts["activation"],)
    if reading.recipe.framework == "keras":
        merge, backwards = facts.get("merge_mode"), facts.get("go_backwards")
        known |= {"merge_modes": (f"A={merge}",)} if merge not in (None, "concat") else {}
        known |= {"go_backwards": ("A",)} if backwards else {}
    return Assumed(**known)


def run_natively(parts: Sequence[Part]) -> None:
    """Run every part in the process of its framework; what cannot be is left to the reference."""
    with Runners(Limits(seconds=3600)) as runners:
        jobs = [(part, job(part, f"p{k}")) for k, part in enumerate(parts) if can_run(part.side)]
        runners.submit([each for _, each in jobs])
        for part, each in jobs:
            try:
                part.trace = in_memory(runners.collect(each)[0])
                part.native = True
            except RunnerError as error:
                part.fault = f"{part.given}: {error}"
            shutil.rmtree(runners.folder / each.label, ignore_errors=True)


def can_run(side: Opened) -> bool:
    assert side.reading is not None
    used = {layer.activation for layer in side.reading.network.layers}
    recipe = side.reading.recipe
    return not recipe.cannot_run and (recipe.framework != "torch" or used <= TORCH_ACTIVATIONS)


def job(part: Part, label: str) -> Job:
    assert part.side.reading is not None and part.side.contents is not None
    path, head = part.side.contents.path, head_of(part.side)
    return Job(label, part.given, path, part.side.reading, part.record.batches, head=head is not None)


def head_of(side: Opened) -> Head | None:
    return side.reading.around.head if side.reading else None


def in_memory(trace: Trace) -> Trace:
    """`trace` without the files that it is mapped from."""
    runs = {}
    for name, run in trace.runs.items():
        h_n, states, c_n = (tuple(map(np.array, each)) for each in (run.h_n, run.states, run.c_n))
        model_out = None if run.model_out is None else np.array(run.model_out)
        runs[name] = Run(run.batch, np.array(run.y), h_n, states, c_n, model_out)
    return Trace(runs, trace.provenance)


def parts_of(outcomes: Sequence[Outcome]) -> Iterator[tuple[Case, Part]]:
    """Every part that met its record, or all of them where the file has several."""
    for outcome in outcomes:
        for part in outcome.parts:
            if not (outcome.any_part and part.fault):
                yield outcome.case, part
