"""The wrong weight of a gated cell is named, with its gate; correct runs, and mistakes of other kinds, name none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import engines
import numpy as np
import pytest
from networks import edited, gated, gates, mixed
from observed import EXACT, model

from rnnverify.adequacy import Examiner
from rnnverify.canonical import GATE_NAMES, Layer, Network
from rnnverify.gate_mistakes import GATE_MISTAKES
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.judge import judge
from rnnverify.mistakes import MISTAKES, planted
from rnnverify.observed import Observed
from rnnverify.probes import make_probes
from rnnverify.suspects import Suspect, suspects
from rnnverify.trace import Run


def tamed(network: Network) -> Network:
    """Weights as they are trained: of a size that falls with what is added up."""
    d = network.layers[0].directions[0]
    I, H, P = d.input_size, d.hidden_size, d.state_size
    made = edited(
        network,
        kernel=d.kernel * np.float32(2 / np.sqrt(I)),
        recurrent_kernel=d.recurrent_kernel * np.float32(1.6 / np.sqrt(P)),
    )
    return made if d.projection is None else edited(made, projection=d.projection * np.float32(2 / np.sqrt(H)))


NETWORKS = {
    "gru": tamed(gated("gru", 5, 16, seed=1)),
    "gru reset before": tamed(gated("gru", 5, 16, seed=2, reset_after=False)),
    "gru of keras 2": tamed(gated("gru", 5, 16, seed=3, reset_after=False, activation="keras2_hard_sigmoid")),
    "lstm": tamed(gated("lstm", 5, 16, seed=4)),
    "lstm peepholes": tamed(gated("lstm", 5, 16, seed=5, peepholes=True, cell_clip=2.0)),
    "lstm projected": tamed(gated("lstm", 5, 16, seed=6, P=8, peepholes=True)),
}
KINDS = pytest.mark.parametrize("kind", NETWORKS)


def runs_of(
    wrong: Network, order: engines.Order = "split", *, probes: bool = True, dtype: str = "float32"
) -> list[Run]:
    given = make_batches(InputOptions(sequences=4, steps=20), wrong)
    probe = make_probes(wrong)
    return list(engines.run(wrong, (*given, probe) if probes and probe else given, order, dtype).runs.values())


def off(network: Network, by: float, tensor: str, *index: int) -> Network:
    array = getattr(network.layers[0].directions[0], tensor).copy()
    array[index] += np.float32(by)
    return edited(network, **{tensor: array})


def places(network: Network) -> list[tuple[str, tuple[int, ...], str, str]]:
    """A weight of every gate and tensor, and what it is called: field, index, tensor and where."""
    found: list[tuple[str, tuple[int, ...], str, str]] = []
    layer = network.layers[0]
    for g, gate in enumerate(GATE_NAMES[layer.cell]):
        where = f"the {gate} of layer 0"
        found += [
            ("kernel", (g, 3, 7), "kernel", where),
            ("recurrent_kernel", (g, 5, 2), "recurrent kernel", where),
            ("bias_input", (g, 6), "bias", where),
        ]
    if layer.cell == "gru":
        split = layer.gating.reset_after
        found.append(("bias_recurrent", (2, 4), "recurrent bias" if split else "bias", "the candidate of layer 0"))
        found.append(("bias_recurrent", (1, 4), "bias", "the update gate of layer 0"))
    if layer.directions[0].peephole is not None:
        gates_seen = ("input gate", "forget gate", "output gate")
        found += [("peephole", (k, 5), "peephole", f"the {gate} of layer 0") for k, gate in enumerate(gates_seen)]
    if layer.directions[0].projection is not None:
        found.append(("projection", (9, 3), "projection", "layer 0"))
    return found


def check_named(found: Sequence[Suspect], place: tuple[str, tuple[int, ...], str, str], by: float) -> None:
    _, index, tensor, where = place
    (suspect,) = found
    assert (suspect.tensor, suspect.where) == (tensor, where)
    assert suspect.index == (index if tensor == "projection" else index[1:])
    assert suspect.off_by == pytest.approx(by, rel=0.02)


@KINDS
@pytest.mark.parametrize("by", [0.8, -3e-3])
def test_one_weight_is_named_with_its_gate_and_what_it_is_off_by(kind: str, by: float) -> None:
    network = NETWORKS[kind]
    for place in places(network):
        check_named(suspects(network, runs_of(off(network, by, place[0], *place[1])), "float32"), place, by)


@KINDS
def test_no_probes_are_needed(kind: str) -> None:
    network = NETWORKS[kind]
    place = places(network)[0]
    wrong = off(network, 0.05, place[0], *place[1])
    check_named(suspects(network, runs_of(wrong, "fused", probes=False), "float32"), place, 0.05)


@KINDS
def test_the_known_weight_is_told(kind: str) -> None:
    network = NETWORKS[kind]
    d = network.layers[0].directions[0]
    (found,) = suspects(network, runs_of(off(network, 0.1, "kernel", 1, 3, 7)), "float32")
    assert found.known == d.kernel[1, 3, 7]
    (found,) = suspects(network, runs_of(off(network, 0.1, "bias_input", 1, 3)), "float32")
    assert found.known == d.bias[1, 3]


@KINDS
@pytest.mark.parametrize("order", engines.ORDERS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_correct_runs_raise_no_alarm(kind: str, order: engines.Order, dtype: str) -> None:
    assert suspects(NETWORKS[kind], runs_of(NETWORKS[kind], order, dtype=dtype), dtype) == ()


@KINDS
def test_mistakes_of_many_weights_name_none(kind: str) -> None:
    network = NETWORKS[kind]
    wrongs = list(planted(network, (*MISTAKES, *GATE_MISTAKES)))
    assert len(wrongs) > 10
    for words, wrong in wrongs:
        assert suspects(network, runs_of(wrong), "float32") == (), words


@KINDS
def test_other_networks_name_none(kind: str) -> None:
    network = NETWORKS[kind]
    d = network.layers[0].directions[0]
    other = network.mapped(lambda array: np.random.default_rng(9).permuted(array))
    one_gate = edited(network, kernel=np.concatenate([d.kernel[:1] * np.float32(1.01), d.kernel[1:]]))
    for wrong in (other, one_gate):
        assert suspects(network, runs_of(wrong), "float32") == ()


def test_small_layers_do_not_pass_other_mistakes_for_a_few_weights() -> None:
    for network in (gated("gru", 2, 2), gated("lstm", 2, 2)):
        for words, wrong in planted(network, (*MISTAKES, *GATE_MISTAKES)):
            assert suspects(network, runs_of(wrong), "float32") == (), words


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_few_weights_are_all_named_and_more_are_not(kind: str) -> None:
    network = NETWORKS[kind]
    wrong = off(off(network, 0.1, "kernel", 0, 0, 3), -0.2, "recurrent_kernel", 2, 7, 9)
    found = suspects(network, runs_of(wrong), "float32")
    assert {(s.tensor, s.index) for s in found} == {("kernel", (0, 3)), ("recurrent kernel", (7, 9))}
    wrong = off(off(wrong, 0.1, "bias_input", 1, 4), 0.1, "bias_input", 2, 12)
    assert suspects(network, runs_of(wrong), "float32") == ()


def test_layers_and_directions_are_told_apart() -> None:
    network = mixed(seed=2)
    layers = list(network.layers)
    for k, where in ((0, "layer 0 reverse"), (1, "layer 1 reverse")):
        *others, last = layers[k].directions
        kernel = last.kernel.copy()
        kernel[1, 2, 3] += np.float32(0.1)
        changed = replace(layers[k], directions=(*others, replace(last, kernel=kernel)))
        wrong = Network((*layers[:k], changed, *layers[k + 1 :]))
        (found,) = suspects(network, runs_of(wrong), "float32")
        gate = GATE_NAMES[layers[k].cell][1]
        assert (found.where, found.index) == (f"the {gate} of {where}", (2, 3))


def test_what_is_not_finite_is_left_out_or_names_none() -> None:
    network = NETWORKS["lstm"]
    runs = runs_of(off(network, 0.1, "kernel", 1, 2, 3))
    runs[0].y[0, 3:] = np.nan
    assert suspects(network, runs, "float32") == ()  # something else is wrong, too


def test_an_initial_state_is_no_weight() -> None:
    """A recording that starts from ones and says that it starts from zeros."""
    for kind in ("gru", "lstm"):
        network = NETWORKS[kind]
        (zero, *_) = make_batches(InputOptions(), network)
        ones = (np.ones((len(zero.x), 16), np.float32),)
        started = replace(zero, h0=ones, c0=ones if kind == "lstm" else None)
        run = engines.run(network, [started], "split").runs["zero"]
        assert suspects(network, [replace(run, batch=zero)], "float32") == ()


def test_long_runs_are_fitted_by_their_first_steps() -> None:
    rng = np.random.default_rng(0)
    d = gates(rng, "lstm", 8, 96)
    tamer = replace(d, recurrent_kernel=d.recurrent_kernel * np.float32(0.15))
    big = Network((Layer((tamer,), cell="lstm"),))
    wrong = off(big, 0.05, "recurrent_kernel", 1, 2, 3)
    given = make_batches(InputOptions(sequences=2, steps=1000), big)
    (found,) = suspects(big, list(engines.run(wrong, given[:1], "split").runs.values()), "float32")
    assert (found.where, found.index) == ("the forget gate of layer 0", (2, 3))


def test_a_recording_that_differs_says_which_weight() -> None:
    network = NETWORKS["lstm"]
    given = make_batches(InputOptions(sequences=4, steps=20), network)
    wrong = off(network, 0.01, "kernel", 1, 2, 3)
    side = Observed("B", None, engines.run(wrong, given, "split"), None)
    pair = judge(model("A", network, given), side, Examiner(given), EXACT)
    (said,) = [reason for reason in pair.reasons if "seems to be off" in reason]
    assert pair.verdict == "DIFFERENT"
    assert said.startswith("kernel [2, 3] of the forget gate of layer 0 seems to be off by 0.01 in B (A has ")
