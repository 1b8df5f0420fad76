"""Genuine files of many framework versions, each against the outputs that its own version recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnverify import lengths, reference
from rnnverify.adapters import Reading
from rnnverify.assumptions import Assumed, settle
from rnnverify.errors import RnnverifyError
from rnnverify.jobs import Job
from rnnverify.masked import without_masked_steps
from rnnverify.native import Runners
from rnnverify.runner_process import Limits
from rnnverify.sides import open_side, parse
from rnnverify.whole_model import shared

GENUINE = Path(__file__).parents[1] / "fixtures" / "genuine"
CASES = sorted(GENUINE.glob("*/*/case.json"))
HALF = {"float16", "bfloat16"}  # recorded in the narrow type; computed here in float32 from the same weights


def test_there_are_files_of_every_framework() -> None:
    frameworks = {json.loads(case.read_text())["framework"] for case in CASES}
    assert {"keras", "tf.keras", "torch", "tensorflow"} <= frameworks and len(CASES) >= 30


def known_of(reading: Reading, facts: dict[str, Any]) -> Assumed:
    """What the file leaves open, as its maker says."""
    gates = {"hard_sigmoid": "keras2_hard_sigmoid", "hard_sigmoid3": "hard_sigmoid"}
    stated = facts.get("recurrent_activation") or "sigmoid"
    return Assumed(
        activations=() if reading.activation_stated else (facts["activation"],),
        gate_activations=(gates.get(stated, stated),) if "gate_activation" in reading.open else (),
        forget_biases=(str(facts["forget_bias"]),)
        if "forget_bias" in reading.open and facts.get("forget_bias")
        else (),
        gru_resets=("after" if facts["reset_after"] else "before",) if "reset" in reading.open else (),
    )


def test_every_file_runs_natively_as_its_own_version_did() -> None:
    """All in one process per runtime; those that are refused are so for a reason that their reader's tests hold."""
    jobs, refused = {}, []
    for case in CASES:
        facts = json.loads(case.read_text())
        label = facts["id"].replace("/", "_")
        path = case.parent / facts["main_file"]
        try:
            given = [open_side(parse(str(name), "A")) for name in (path, case.parent / "io.npz")]
            side, other = without_masked_steps(shared(given))
        except RnnverifyError as error:
            refused.append((facts["id"], str(error)))
            continue
        trace = other.trace
        assert side.reading and side.contents and side.network and trace
        (side,) = settle([side], known_of(side.reading, facts))
        assert side.reading and side.contents and side.network
        # weights alone do not say that they belong to a layer with go_backwards: an assumption, printed
        known = side.reading.activation_stated or not facts["go_backwards"]
        if known and trace.batches[0].x.shape[2] == side.network.input_size:
            jobs[label] = (facts, trace, Job(label, label, side.contents.path, side.reading, trace.batches))
    assert len(jobs) >= 25, refused
    with Runners(Limits()) as runners:
        runners.submit([job for _, _, job in jobs.values()])
        for label, (facts, recorded, job) in jobs.items():
            trace, recorded = (lengths.cut(each, job.reading.network) for each in (runners.collect(job)[0], recorded))
            limit = 2e-2 if facts["dtype"] in HALF else 3e-6
            expected = reference.run(job.reading.network, lengths.cut_batches(job.batches))
            for name, run in trace.runs.items():
                against_ours = float(np.abs(run.y - expected.runs[name].y).max())
                assert against_ours < 3e-6, (label, name, against_ours)
                against_theirs = float(np.abs(run.y - recorded.runs[name].y).max())
                assert against_theirs < limit, (label, name, against_theirs)


@pytest.mark.parametrize(
    "case", sorted((GENUINE.parent / "bad").glob("*/case.json")), ids=lambda case: case.parent.name
)
def test_a_bad_file_is_loaded_whole_or_refused_in_one_sentence(case: Path) -> None:
    facts = json.loads(case.read_text())
    try:
        side = open_side(parse(str(case.parent / facts["main_file"]), "A"))
    except RnnverifyError as error:
        assert facts["expect"] != "load", error
        assert "\n" not in str(error) and case.parent.name in str(error)
    else:
        assert facts["expect"].startswith("load") and side.network
