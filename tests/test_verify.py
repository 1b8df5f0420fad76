"""Whole comparisons, each side in its own framework."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rnnverify
from rnnverify.assumptions import Assumed
from rnnverify.deviation import Tolerance
from rnnverify.errors import MismatchError, OptionError
from rnnverify.inputs import InputOptions
from rnnverify.options import Options
from rnnverify.trace import FROM_H0, ZERO

REFERENCE = Options(engine="reference")


def test_three_frameworks_hold_the_same_network(fixtures: Path) -> None:
    names = ("simple_rnn.h5", "rnn.pt", "basic_rnn_cell.ckpt")
    result = rnnverify.compare(*(fixtures / name for name in names))
    assert result.verdict == "EQUIVALENT" and result.exit_code == 0
    assert [side.engine for side in result.sides] == ["native"] * 3
    assert [side.framework for side in result.sides] == ["keras", "torch", "tensorflow"]
    loaders = ("keras.saving.load_model", "torch.load", "Saver.restore")
    assert all(loader in side.how for loader, side in zip(loaders, result.sides, strict=True))
    for pair in result.pairs:
        assert 0 < pair.headline.deviation.max_abs < 2e-6
        assert pair.weights == 0 and not any(t.differing for t in pair.tensors)
        assert {m.batch for m in pair.measured} == {ZERO, FROM_H0}
    # the triangle of the design: no deviation beyond what the two implementations and the weights account for
    pair = result.pairs[0]
    assert pair.implementation_baseline is not None and pair.implementation_candidate is not None
    assert pair.headline.deviation.max_abs <= pair.implementation_baseline + pair.implementation_candidate + 1e-12
    assert result.matrix[1][2] == result.matrix[2][1] > 0


def test_the_other_file_forms_hold_it_too(fixtures: Path) -> None:
    names = ("simple_rnn.keras", "simple_rnn.weights.h5", "rnn_legacy.pt", "rnn.safetensors", "rnn.pt")
    result = rnnverify.compare(*(fixtures / name for name in names))
    assert result.verdict in ("IDENTICAL", "EQUIVALENT")
    assert "rebuilt with the file's own arrays" in result.sides[1].how
    assert any("borrowed from A" in text for text in result.sides[1].assumptions)


def test_stacks_and_both_directions(fixtures: Path) -> None:
    stacked = (fixtures / "stacked.keras", f"{fixtures}/two_parts.pt#below+above", fixtures / "stacked.ckpt")
    result = rnnverify.compare(*stacked)
    assert result.verdict == "EQUIVALENT"
    assert any("Dense" in text for text in result.sides[0].not_compared)
    both = [fixtures / f"bidirectional.{suffix}" for suffix in ("keras", "h5", "pt", "ckpt")]
    result = rnnverify.compare(*both)
    assert result.verdict == "EQUIVALENT"
    assert [len([m for m in pair.measured if m.output != "y"]) for pair in result.pairs] == [4] * 3


def test_wrong_ports_differ_natively(fixtures: Path) -> None:
    wrong = sorted((fixtures / "wrong").iterdir())
    result = rnnverify.compare(fixtures / "simple_rnn.keras", *wrong)
    assert result.verdict == "DIFFERENT" and result.exit_code == 1
    assert [pair.verdict for pair in result.pairs] == ["DIFFERENT"] * len(wrong)
    by_name = {path.name: pair for path, pair in zip(wrong, result.pairs, strict=True)}
    transposed = by_name["recurrent_transposed.pt"]
    first = [m.deviation.first_step for m in transposed.measured if m.output == "y"]
    assert first == [1, 0]  # from zero states the recurrent kernel shows from the second step, from others at once
    assert [t.name for t in transposed.tensors if t.differing] == ["layer 0 recurrent kernel"]
    dropped = by_name["bias_hh_dropped.pt"]
    assert [t.name for t in dropped.tensors if t.differing] == ["layer 0 bias"]
    assert any("relu" in reason for reason in by_name["relu.keras"].reasons)
    assert any("backwards" in reason for reason in by_name["go_backwards.keras"].reasons)


def test_float16_weights_are_seen_although_the_deviation_is_small(fixtures: Path) -> None:
    sides = (fixtures / "rnn.pt", fixtures / "wrong" / "float16_rounded.pt")
    strict = rnnverify.compare(*sides, options=REFERENCE)
    assert strict.verdict == "DIFFERENT"
    loose = rnnverify.compare(*sides, options=Options(engine="reference", tolerance=Tolerance(atol=1e-2)))
    assert loose.verdict == "CLOSE" and loose.exit_code == 0
    assert loose.pairs[0].tolerance.atol == 1e-2


def test_traces_made_from_other_inputs_are_refused(fixtures: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        options = Options(engine="reference", inputs=InputOptions(seed=seed))
        rnnverify.run(fixtures / "rnn.pt", tmp_path / f"{seed}.npz", options)
    with pytest.raises(MismatchError, match="made from other inputs"):
        rnnverify.compare(tmp_path / "0.npz", tmp_path / "1.npz")
    same = rnnverify.compare(tmp_path / "0.npz", tmp_path / "0.npz")
    assert same.verdict == "IDENTICAL"


def test_the_square_of_a_wrong_port_puts_the_difference_at_the_weights(fixtures: Path) -> None:
    pair = rnnverify.compare(fixtures / "rnn.pt", fixtures / "wrong" / "bias_hh_dropped.pt").pairs[0]
    assert pair.implementation_baseline is not None and pair.implementation_baseline < 1e-6
    assert pair.implementation_candidate is not None and pair.implementation_candidate < 1e-6
    assert pair.weights is not None and pair.weights == pytest.approx(pair.headline.deviation.max_abs, abs=1e-5)


def test_other_sizes_cannot_be_compared(fixtures: Path) -> None:
    with pytest.raises(MismatchError, match="gives 16 outputs at each step"):
        rnnverify.compare(fixtures / "rnn.pt", fixtures / "bidirectional.pt", options=REFERENCE)
    with pytest.raises(OptionError, match="two sides or more"):
        rnnverify.compare(fixtures / "rnn.pt")


def test_the_same_weights_in_another_structure_differ(fixtures: Path) -> None:
    # a port that lost its lower layer, where sizes still fit
    result = rnnverify.compare(fixtures / "rnn.pt", fixtures / "stacked.ckpt", options=REFERENCE)
    assert result.verdict == "DIFFERENT"
    assert any("layers" in reason for reason in result.pairs[0].reasons)


def test_a_recording_off_by_one_weight_in_a_hundred_thousandth_is_seen(fixtures: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    arrays = load_file(fixtures / "rnn.safetensors")
    arrays["weight_hh_l0"][2, 5] *= np.float32(1 + 1e-5)
    save_file(arrays, tmp_path / "off.safetensors")
    rnnverify.run(tmp_path / "off.safetensors", tmp_path / "off.npz")
    rnnverify.run(fixtures / "rnn.safetensors", tmp_path / "right.npz")
    right = rnnverify.compare(fixtures / "rnn.pt", tmp_path / "right.npz").pairs[0]
    assert right.verdict in ("IDENTICAL", "EQUIVALENT") and right.adequacy and right.adequacy.survivors == ()
    wrong = rnnverify.compare(fixtures / "rnn.pt", tmp_path / "off.npz").pairs[0]
    assert wrong.verdict == "DIFFERENT" and wrong.headline.deviation.max_abs < 1e-5
    budget = wrong.budgets[1]
    assert budget and budget.beyond > 0


def test_a_recording_that_could_have_hidden_a_mistake_is_inconclusive(fixtures: Path, tmp_path: Path) -> None:
    short = InputOptions(steps=1, probes=False)
    rnnverify.run(fixtures / "rnn.pt", tmp_path / "one_step.npz", Options(engine="reference", inputs=short))
    pair = rnnverify.compare(fixtures / "rnn.pt", tmp_path / "one_step.npz", options=REFERENCE).pairs[0]
    assert pair.verdict == "INCONCLUSIVE"
    assert "a sequence is read from its end" in pair.reasons[0]


@pytest.mark.parametrize(("drop", "words"), [("y_from_h0", "lacks y_from_h0"), ("h_n", "lacks h_n")])
def test_recordings_hold_the_same_outputs_or_are_refused(fixtures: Path, tmp_path: Path, drop: str, words: str) -> None:
    whole, part = tmp_path / "whole.npz", tmp_path / "part.npz"
    rnnverify.run(fixtures / "rnn.pt", whole, REFERENCE)
    with np.load(whole) as arrays:
        np.savez(part, **{name: array for name, array in arrays.items() if not name.startswith(drop)})
    for sides in ((whole, part), (part, whole)):
        with pytest.raises(MismatchError, match=f"part.npz {words}, which the other recording has"):
            rnnverify.compare(*sides)
    assert rnnverify.compare(whole, whole).verdict == "IDENTICAL"


def test_a_recording_with_masked_steps_is_that_of_its_own_file(fixtures: Path) -> None:
    case = fixtures / "genuine/keras-2.2.4/rnn_mask_h5"
    result = rnnverify.compare(case / "model.h5", case / "io.npz", options=REFERENCE)
    assert result.verdict == "EQUIVALENT"
    batch = result.inputs["batches"]
    assert isinstance(batch, dict) and batch[ZERO]["shape"] == [3, 6, 5]


def test_an_assumed_merge_mode_is_what_other_outputs_hint_at(fixtures: Path, tmp_path: Path) -> None:
    case = fixtures / "genuine/tf.keras-2.1.4/rnn_bi_tfweights"
    recording = dict(np.load(case / "io.npz"))
    np.savez(tmp_path / "sum.npz", x=recording["x"], y=recording["y"][..., :6] + recording["y"][..., 6:])
    sides = (case / "weights", tmp_path / "sum.npz")
    with pytest.raises(MismatchError, match="does not state its merge mode: try --merge-mode A=sum"):
        rnnverify.compare(*sides, options=REFERENCE)
    summed = Options(engine="reference", assumed=Assumed(merge_modes=("A=sum",)))
    assert rnnverify.compare(*sides, options=summed).pairs[0].headline.deviation.max_abs < 1e-6


def test_an_export_states_its_activation_and_leaves_its_structure_open(fixtures: Path) -> None:
    sides = (fixtures / "genuine/keras-3.15.1/rnn_a_export/exported", fixtures / "genuine/tf-1.15.5/rnn_a_ckpt")
    result = rnnverify.compare(*sides, options=REFERENCE)
    assert result.verdict == "IDENTICAL" and "borrowed from A" in result.sides[1].assumptions[0]
    turned = Options(engine="reference", assumed=Assumed(go_backwards=("A",)))
    assert rnnverify.compare(*sides, options=turned).verdict == "DIFFERENT"
