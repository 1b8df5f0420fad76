"""Mistakes that people reported of networks with gates, each planted in files and recordings: its cause comes first."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import engines
import pytest
from _pytest.mark.structures import ParameterSet
from gated_changes import noise
from gated_files import FORMS, can_hold
from known_gated import KNOWN, SHAPES, Known
from networks import batches
from test_known_gated_runs import KNOWN as RUNS
from tf_files import write_v2

import rnnverify
from rnnverify.adapters.layouts import lay_out
from rnnverify.canonical import CellKind, Network
from rnnverify.comparison import Comparison
from rnnverify.inputs import InputOptions
from rnnverify.mistakes import same
from rnnverify.options import Options
from rnnverify.trace_file import save

OPTIONS = Options(engine="reference", inputs=InputOptions(sequences=4, steps=12))
ROUNDING = 2e-6  # of states within 1, and of cell states of a few


def cases(recorded: bool) -> list[ParameterSet]:
    return [
        pytest.param(known, cell, shape, id=f"{name}-{cell}-{shape}")
        for name, known in KNOWN.items()
        for cell in known.cells
        for shape in known.shapes
        if known.recorded or not recorded
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


@pytest.mark.parametrize(("known", "cell", "shape"), cases(recorded=False))
def test_two_files(known: Known, cell: CellKind, shape: str, tmp_path: Path) -> None:
    right = SHAPES[shape](cell)
    wrong = known.plant(right)
    assert not same(right, wrong)
    pairs = pairs_of(known, right, wrong, tmp_path)
    assert pairs
    for k, (a, b) in enumerate(pairs):
        one, other = FORMS[a](right, tmp_path / f"right{k}"), FORMS[b](wrong, tmp_path / f"wrong{k}")
        check(compared(one, other), known, known.proof)


@pytest.mark.parametrize(("known", "cell", "shape"), cases(recorded=True))
def test_a_recording(known: Known, cell: CellKind, shape: str, tmp_path: Path) -> None:
    right = SHAPES[shape](cell)
    form = next(form for form in ("torch", "onnx", "keras") if can_hold(form, right, tmp_path))
    trace = tmp_path / "wrong.npz"
    save(engines.run(known.plant(right), batches(right, 4, 12), "naive"), trace)
    check(compared(FORMS[form](right, tmp_path / "right"), str(trace)), known, "confirmed")


REPORTED = """
kernel_reshaped_not_transposed recurrent_transposed kernel_transposed_square WU_swapped_square concat_hx_vs_xh
layers_swapped fw_bw_swapped direction_tied bias_hh_dropped bias_added_twice bias_halved bias_wrong_half_slice
bias_missing gru_bias_merged_outside_reset gru_bias_merged_inside_reset gru_bias_transposed_2x3H
ln_or_bias_layout_interleaved gru_zr_swapped gru_zr_swapped_partial lstm_ijfo_as_ifgo lstm_icfo_keras1 lstm_iofc_onnx
lstm_ifog lstm_cfoi_dl4j gru_reset_before_vs_after onnx_linear_before_reset_missing gru_z_complemented
forget_bias_not_added forget_bias_added_twice forget_bias_after_sigmoid peephole_ignored cifg_ignored
hard_sigmoid_vs_sigmoid hard_sigmoid_slope_changed activation_relu_vs_tanh activation_alpha_beta_ignored
activation_missing_or_doubled recurrence_lost layer_input_not_chained sequence_reversed_or_go_backwards_ignored
backward_outputs_not_rereversed bidirectional_last_step_instead_of_final_state last_output_vs_all_outputs
bidirectional_merge_mode direction_axis_layout batch_time_swapped layout_view_instead_of_transpose
zero_padding_without_masking mask_not_reversed_with_go_backwards mask_as_sequence_lens masked_output_repeat_vs_zero
stateful_carry_over initial_state_nonzero_or_random initial_state_order_hc training_mode_dropout
weights_not_loaded_random partially_loaded_layer ema_vs_raw optimizer_slot_read_as_weight old_epoch_checkpoint
variable_renamed_not_found weightdrop_raw_vs_effective float16_rounded int8_quantised float_noise_backend
"""
NO_DIFFERENCE = {
    "masked_output_repeat_vs_zero": "what stands at padded steps is a convention: it is said, and not compared",
    "variable_renamed_not_found": "every generation of names is read",
    "float_noise_backend": "rounding explains it",
}
"""What must get no cause, and why."""


def test_every_reported_mistake_is_planted() -> None:
    planted = {name.partition(",")[0] for name in (*KNOWN, *RUNS)}
    assert set(REPORTED.split()) <= planted | set(NO_DIFFERENCE)
    assert not planted & set(NO_DIFFERENCE)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("shape", ["one", "stack", "both, stack"])
def test_rounding_gets_no_cause(cell: CellKind, shape: str, tmp_path: Path) -> None:
    right = SHAPES[shape](cell)
    trace = tmp_path / "right.npz"
    save(engines.run(right, batches(right, 4, 12), "fused"), trace)
    result = compared(FORMS["torch"](right, tmp_path / "right"), str(trace))
    assert result.verdict == "EQUIVALENT" and result.pairs[0].findings == ()


@pytest.mark.parametrize(("cell", "shape"), [("lstm", "one bias"), ("gru", "before")])
def test_names_of_an_older_tensorflow_are_read(cell: CellKind, shape: str, tmp_path: Path) -> None:
    right = SHAPES[shape](cell)
    older = {"kernel": "weights", "bias": "biases"}
    tensors = lay_out(right, "tensorflow", tmp_path).tensors
    renamed = {"/".join(older.get(part, part) for part in name.split("/")): a for name, a in tensors.items()}
    result = compared(FORMS["keras"](right, tmp_path / "right"), str(write_v2(tmp_path / "older.ckpt", renamed)))
    assert result.verdict in ("IDENTICAL", "EQUIVALENT") and result.pairs[0].findings == ()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("shape", SHAPES)
def test_simply_different_networks_get_no_cause(cell: CellKind, shape: str, tmp_path: Path) -> None:
    right, other = SHAPES[shape](cell), noise(1.0, add=False)(SHAPES[shape](cell))
    form = next(form for form in FORMS if can_hold(form, right, tmp_path))
    trace = tmp_path / "other.npz"
    save(engines.run(other, batches(right, 4, 12), "naive"), trace)
    for wrong in (FORMS[form](other, tmp_path / "other"), str(trace)):
        result = compared(FORMS[form](right, tmp_path / "right"), wrong)
        assert result.verdict == "DIFFERENT" and result.pairs[0].findings == ()


@pytest.mark.parametrize(("name", "cell"), [("gru_zr_swapped", "gru"), ("lstm_iofc_onnx", "lstm")])
def test_on_the_command_line(name: str, cell: CellKind, tmp_path: Path) -> None:
    right, known = SHAPES["stack"](cell), KNOWN[name]
    sides = FORMS["torch"](right, tmp_path / "right"), FORMS["keras"](known.plant(right), tmp_path / "wrong")
    command = [sys.executable, "-m", "rnnverify", "compare", *sides, "--engine", "reference", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (pair,) = json.loads(done.stdout)["pairs"]
    assert [(found["name"], found["side"]) for found in pair["findings"]] == [(known.wanted, "B")]
