"""nn.GRU, nn.LSTM and their cells: gate by gate where PyTorch has them, in both ways, and told from each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_torch import layer, opened, read

from rnnverify import reference
from rnnverify.adapters.torch import adapter
from rnnverify.adapters.torch import gates as torch_gates
from rnnverify.canonical import Array, CellKind, Layer, Network
from rnnverify.errors import FileError, SelectorError, UnsupportedError
from rnnverify.trace import FROM_H0, ZERO, Batch

FIXTURES = Path(__file__).parents[2] / "fixtures"
KINDS: tuple[CellKind, ...] = ("rnn", "gru", "lstm")
GENUINE = (
    "torch-1.12.1/gru_nobias_sd",
    "torch-1.12.1/lstm_proj_sd",
    "torch-1.5.1/gru_ra_bi_sd",
    "torch-1.6.0/gru_ra_cell",
    "torch-2.13.0/lstm_2l_legacy",
)


def error_of(case: str, edit: str = "") -> float:
    """How far the reference on the network of a genuine file is from the outputs and states that were recorded.

    `edit` plants a mistake: `order` two gates exchanged, `biases` both in one.
    """
    folder = FIXTURES / "genuine" / case
    reading = adapter.read(opened(folder / json.loads((folder / "case.json").read_text())["main_file"]), None)
    network = reading.network
    if edit:
        network = Network(tuple(planted(each, edit) for each in network.layers))
    with np.load(folder / "io.npz") as io:
        batches = [Batch(ZERO, io["x"])]
        if "h0" in io:
            batches.append(Batch(FROM_H0, io["x"], tuple(io["h0"]), tuple(io["c0"]) if "c0" in io else None))
        worst = 0.0
        for run, end in zip(reference.run(network, batches).runs.values(), ("", "_from_h0"), strict=False):
            pairs = [(run.y, io["y" + end])]
            pairs += [(h, k) for name, states in (("h_n", run.h_n), ("c_n", run.c_n)) if states
                      for h, k in zip(states, io[name + end], strict=True)]  # fmt: skip
            worst = max(worst, *(float(np.abs(ours - theirs).max()) for ours, theirs in pairs))
    return worst


def planted(given: Layer, edit: str) -> Layer:
    def edited(array: Array) -> Array:
        return array[[1, 0, *range(2, len(array))]]

    if edit == "order":
        changed = [
            replace(
                d,
                kernel=edited(d.kernel),
                recurrent_kernel=edited(d.recurrent_kernel),
                bias_input=edited(d.bias_input),
                bias_recurrent=edited(d.bias_recurrent),
            )
            for d in given.directions
        ]
    else:
        changed = [
            replace(d, bias_input=d.bias_input + d.bias_recurrent, bias_recurrent=d.bias_recurrent * 0)
            for d in given.directions
        ]
    return replace(given, directions=tuple(changed))


@pytest.mark.parametrize("case", GENUINE)
def test_the_canonical_network_computes_what_pytorch_computed(case: str) -> None:
    assert error_of(case) < 2e-6
    assert error_of(case, "order") > 1e-3


def test_the_two_biases_of_a_gru_are_kept_apart() -> None:
    assert error_of("torch-1.6.0/gru_ra_cell", "biases") > 1e-3
    assert error_of("torch-2.13.0/lstm_2l_legacy", "biases") < 2e-6


@given(st.sampled_from(KINDS), st.integers(1, 4), st.integers(1, 4), st.data())
def test_gates_apart_and_stacked_are_inverse(kind: CellKind, H: int, I: int, data: st.DataObject) -> None:
    rows = len(torch_gates.ORDERS[kind]) * H
    matrix = data.draw(arrays(np.float32, (rows, I), elements=st.floats(-1, 1, width=32)))
    gates = torch_gates.apart(matrix, kind)
    assert gates.shape == (rows // H, H, I)
    assert np.array_equal(torch_gates.stacked(gates, kind), matrix)
    assert np.array_equal(torch_gates.turned(torch_gates.turned(gates)), gates)
    assert np.array_equal(torch_gates.stacked(torch_gates.apart(matrix[:, 0], kind), kind), matrix[:, 0])


@pytest.mark.parametrize(("gates", "kind"), [(1, "rnn"), (3, "gru"), (4, "lstm")])
@pytest.mark.parametrize(("I", "H"), [(3, 2), (1, 1), (12, 3), (2, 5)])
@pytest.mark.parametrize("suffix", ["_l0", ""])
def test_the_kind_is_told_by_the_rows(gates: int, kind: CellKind, I: int, H: int, suffix: str) -> None:
    given = layer(I, H, "enc.", suffix, gates)
    reading = read(given)
    (found,) = reading.network.layers
    assert (found.cell, found.input_size, found.hidden_size, found.activation) == (kind, I, H, "tanh")
    assert reading.activation_stated == (kind != "rnn")
    assert reading.recipe.layers[0]["module"] == kind.upper() + "Cell" * (not suffix)
    (direction,) = found.directions
    assert np.array_equal(direction.kernel[-1], given[f"enc.weight_ih{suffix}"][-H:].T)
    assert np.array_equal(direction.recurrent_kernel[0], given[f"enc.weight_hh{suffix}"][:H].T)
    assert np.array_equal(direction.bias_recurrent[-1], given[f"enc.bias_hh{suffix}"][-H:])


def test_a_projected_lstm_feeds_its_projection_on() -> None:
    given = layer(3, 5, gates=4, P=2) | layer(3, 5, "", "_l0_reverse", 4, 2)
    given |= layer(4, 5, "", "_l1", 4, 2) | layer(4, 5, "", "_l1_reverse", 4, 2)
    reading = read(given)
    assert [(x.input_size, x.hidden_size, x.state_size) for x in reading.network.layers] == [(3, 5, 2), (4, 5, 2)]
    projection = reading.network.layers[1].directions[1].projection
    assert projection is not None and np.array_equal(projection, given["weight_hr_l1_reverse"].T)
    assert reading.recipe.layers[0]["proj_size"] == 2
    assert reading.roles["weight_hr_l0"] == "layer 0 projection (transposed)"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"weight_hr_l0": None}, r"weight_hh_l0 has shape \(20, 2\), wanted \(20, 20\)"),
        ({"weight_hr_l0": np.ones((6, 5))}, r"weight_hr_l0 has shape \(6, 5\).*of less than 5 numbers"),
        ({"weight_hr_l0": np.ones((2, 4))}, r"weight_hr_l0 has shape \(2, 4\), wanted \(2, 5\)"),
        ({"weight_hh_l0": np.ones((20, 3))}, r"weight_hh_l0 has shape \(20, 3\), wanted \(20, 2\)"),
        ({"weight_ih_l0": np.ones((21, 3))}, r"weight_ih_l0 has 21 rows; an nn\.LSTM has 4 for each unit"),
        ({"bias_hh_l0": np.ones(5)}, r"bias_hh_l0 has shape \(5,\), wanted \(20,\)"),
        ({"bias_hh_l0": None}, "lacks bias_hh_l0"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Array | None], found: str) -> None:
    given = layer(3, 5, gates=4, P=2) | change
    with pytest.raises(FileError, match=found):
        read({name: array for name, array in given.items() if array is not None})


def test_kinds_are_stacked_and_only_what_is_open_is_left_open() -> None:
    given = layer(6, 5, "lstm.", gates=4, P=2) | layer(2, 4, "gru.", gates=3) | layer(4, 3, "rnn.")
    with pytest.raises(
        SelectorError, match=r"m\.pt#lstm \(nn\.LSTM\), .*#gru \(nn\.GRU\), .*#lstm\+gru\+rnn \(stacked"
    ):
        read(given)
    reading = read(given, "lstm+gru+rnn")
    assert [each.cell for each in reading.network.layers] == ["lstm", "gru", "rnn"]
    assert not reading.activation_stated and reading.settled_layers == (0, 1)
    assert read(given, "lstm+gru").activation_stated
    with pytest.raises(FileError, match="gru reads 2 features, but rnn gives 3"):
        read(given, "rnn+gru")


@pytest.mark.parametrize("stated", [{"mode": "GRU"}, {"class": "torch.nn.modules.rnn.GRU", "mode": "LSTM"}])
def test_what_contradicts_the_kind_is_refused(stated: dict[str, object]) -> None:
    given = layer(3, 2, gates=4)
    assert read(given, modules={"": {"class": "torch.nn.modules.rnn.LSTM", "mode": "LSTM", "proj_size": 0}})
    with pytest.raises(FileError, match=r"states the (mode|class) .*GRU, but its weights are those of an nn\.LSTM"):
        read(given, modules={"": stated})
    with pytest.raises(FileError, match="states proj_size 2"):
        read(given, modules={"": {"mode": "LSTM", "proj_size": 2}})


def test_a_users_class_is_assumed_to_compute_what_its_weights_promise() -> None:
    reading = read(layer(3, 2, "enc.", gates=4), modules={"enc.": {"class": "user.FastLSTM"}})
    assert reading.assumptions == ("enc computes what nn.LSTM does: its class user.FastLSTM is not in the file",)


def test_a_quantised_layer_is_refused_by_name() -> None:
    given = layer(3, 2, "rnn.")
    assert read(given, quantised=("enc",)).part == "rnn"
    for tensors, selector in ((given, "enc"), (given, "enc+rnn"), ({"fc.weight": np.ones((1, 2))}, None)):
        with pytest.raises(UnsupportedError, match="keeps the weights of enc as quantised integers"):
            read(tensors, selector, quantised=("enc",))


def test_a_normed_projection_is_rebuilt() -> None:
    given = layer(3, 5, gates=4, P=2)
    v = given.pop("weight_hr_l0")
    given |= {"weight_hr_l0_g": np.linalg.norm(v, axis=1, keepdims=True), "weight_hr_l0_v": v}
    reading = read(given)
    assert reading.network.layers[0].directions[0].rebuilt and not reading.recipe.loadable
    projection = reading.network.layers[0].directions[0].projection
    assert projection is not None and np.allclose(projection, v.T, rtol=1e-6, atol=0)
