"""LSTM and GRU cells by their variable names, of every TensorFlow 1 generation; what they may not hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tf_cells import cell, holding
from tf_gates import GRUS, LSTMS, gru, lstm, some

from rnnverify import reference
from rnnverify.adapters.reading import Reading
from rnnverify.adapters.tensorflow.adapter import read
from rnnverify.canonical import Array, Direction, Layer
from rnnverify.containers import tf_checkpoint
from rnnverify.errors import FileError, UnsupportedError
from rnnverify.trace import Batch

I, H = 3, 4


def reading(tensors: Mapping[str, Array], selector: str | None = None) -> Reading:
    return read(holding(tensors), selector)


def one(found: Reading) -> tuple[Layer, Direction]:
    (layer,) = found.network.layers
    (direction,) = layer.directions
    return layer, direction


def sigmoid(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def step_of(found: Reading, x: Array, h: Array, c: Array | None = None) -> Array:
    """h (B, P) after one step of the network read."""
    batch = Batch("from_h0", x[:, None], (h,), None if c is None else (c,))
    return reference.run(found.network, (batch,)).runs["from_h0"].y[:, 0]


@pytest.mark.parametrize(
    ("scope", "P"), [(scope, P) for scope in LSTMS for P in (0, 2) if not P or "P" in LSTMS[scope]]
)
def test_an_lstm_of_any_generation_computes_what_its_cell_does(scope: str, P: int) -> None:
    """The formula of rnn_cell_impl.py, written out for this test."""
    tensors = lstm(scope, I, H, P)
    by_role = {
        role: tensors[f"{scope}/{name}"].astype(float) for role, name in LSTMS[scope].items() if role != "P" or P
    }
    found = reading(tensors)
    x, h, c = some(2, I), some(2, P or H), 4 * some(2, H)
    look = {gate: by_role.get(gate, np.zeros(H)) for gate in "ifo"}
    i, j, f, o = np.split(np.concatenate([x, h], axis=1) @ by_role["kernel"] + by_role["bias"], 4, axis=1)
    added = 0.0 if "cudnn" in scope else 1.0
    new = sigmoid(f + added + look["f"] * c) * c + sigmoid(i + look["i"] * c) * np.tanh(j)
    new = np.clip(new, -3, 3) if "LSTMBlockCell" in scope else new
    wanted = sigmoid(o + look["o"] * new) * np.tanh(new)
    np.testing.assert_allclose(step_of(found, x, h, c), wanted @ by_role["P"] if P else wanted, rtol=1e-9)
    assert set(found.roles) == set(tensors)
    (layer,) = found.network.layers
    assert layer.gating.cell_clip == (3.0 if "LSTMBlockCell" in scope else 0.0)
    assert found.open == (frozenset() if "cudnn" in scope else frozenset({"forget_bias"}))


@pytest.mark.parametrize("scope", GRUS)
def test_a_gru_of_any_generation_computes_what_its_cell_does(scope: str) -> None:
    tensors = gru(scope, I, H)
    by_role = {role: tensors[f"{scope}/{name}"].astype(float) for role, name in GRUS[scope].items()}
    found = reading(tensors)
    x, h = some(2, I), some(2, H)
    gates = sigmoid(np.concatenate([x, h], axis=1) @ by_role["kernel"] + by_role["bias"])
    r, u = np.split(gates, 2, axis=1)
    candidate = np.concatenate([x, r * h], axis=1) @ by_role["candidate"] + by_role["candidate_bias"]
    np.testing.assert_allclose(step_of(found, x, h), u * h + (1 - u) * np.tanh(candidate), rtol=1e-9)
    assert set(found.roles) == set(tensors) and not found.open


def test_a_cudnn_compatible_gru_resets_after_the_product() -> None:
    scope = "cudnn_gru/rnn/multi_rnn_cell/cell_0/cudnn_compatible_gru_cell"
    shapes = {"gates/kernel": (I + H, 2 * H), "gates/bias": (2 * H,)}
    shapes |= {"candidate/input_projection/kernel": (I, H), "candidate/input_projection/bias": (H,)}
    shapes |= {"candidate/hidden_projection/kernel": (H, H), "candidate/hidden_projection/bias": (H,)}
    tensors = {f"{scope}/{name}": some(*shape) for name, shape in shapes.items()}
    found = reading(tensors)
    W, b, W_x, b_x, W_h, b_h = (array.astype(float) for array in tensors.values())
    x, h = some(2, I), some(2, H)
    r, u = np.split(sigmoid(np.concatenate([x, h], axis=1) @ W + b), 2, axis=1)
    wanted = u * h + (1 - u) * np.tanh(x @ W_x + b_x + r * (h @ W_h + b_h))
    np.testing.assert_allclose(step_of(found, x, h), wanted, rtol=1e-9)
    assert found.activation_stated and found.part == "cudnn_gru/rnn"


@pytest.mark.parametrize("P", [0, 2])
def test_coupled_gates(P: int) -> None:
    """i = 1 - f, as contrib/rnn/python/ops/rnn_cell.py has it, in shards."""
    scope = "rnn/coupled_input_forget_gate_lstm_cell"
    rows = I + (P or H)
    kernel = some(rows, 3 * H)
    tensors = {f"{scope}/W_1": kernel[3:], f"{scope}/W_0": kernel[:3], f"{scope}/B": some(3 * H)}
    tensors |= {f"{scope}/W_F_diag": some(H), f"{scope}/W_O_diag": some(H)}
    projection = some(H, P or 1)
    tensors |= {f"{scope}/W_P_0": projection} if P else {}
    found = reading(tensors)
    x, h, c = some(2, I), some(2, P or H), some(2, H)
    j, f, o = np.split(np.concatenate([x, h], axis=1).astype(float) @ kernel + tensors[f"{scope}/B"], 3, axis=1)
    f = sigmoid(f + 1.0 + tensors[f"{scope}/W_F_diag"] * c)
    new = f * c + (1 - f) * np.tanh(j)
    wanted = sigmoid(o + tensors[f"{scope}/W_O_diag"] * new) * np.tanh(new)
    np.testing.assert_allclose(step_of(found, x, h, c), wanted @ projection if P else wanted, rtol=1e-6)
    (spec,) = found.recipe.layers
    assert isinstance(spec["directions"], list) and spec["directions"][0]["kernel"] == [f"{scope}/W_0", f"{scope}/W_1"]


def test_many_shards_are_joined_in_order() -> None:
    tensors = lstm("RNN/LSTMCell", 10, H, names={"kernel": "W_0", "bias": "B"})
    kernel = tensors.pop("RNN/LSTMCell/W_0")
    tensors |= {f"RNN/LSTMCell/W_{k}": kernel[k : k + 1] for k in reversed(range(len(kernel)))}
    _, direction = one(reading(tensors))
    np.testing.assert_array_equal(direction.kernel[0], kernel[:10, :H])
    del tensors["RNN/LSTMCell/W_3"]
    with pytest.raises(FileError, match="several tensors as kernel"):
        reading(tensors)
    tensors["RNN/LSTMCell/W_3"] = some(1, 4)
    with pytest.raises(FileError, match=r"the shards of RNN/LSTMCell/W_.* do not fit together"):
        reading(tensors)


def keras(scope: str, gates: int, bias: tuple[int, ...] = ()) -> dict[str, Array]:
    found = {f"{scope}/kernel": some(I, gates * H), f"{scope}/recurrent_kernel": some(H, gates * H)}
    return {**found, **({f"{scope}/bias": some(*bias)} if bias else {})}


def test_cells_of_keras() -> None:
    """Their gates are i, f, c, o and z, r, h; the shape of the bias says where a GRU resets."""
    tensors = keras("rnn/while/lstm_cell", 4, (4 * H,))
    found = reading(tensors)
    layer, direction = one(found)
    np.testing.assert_array_equal(direction.kernel[2], tensors["rnn/while/lstm_cell/kernel"][:, 2 * H : 3 * H])
    assert layer.cell == "lstm" and found.open == {"gate_activation"} and found.part == "rnn"
    assert not direction.bias_recurrent.any()
    for shape, after, still_open in (((3 * H,), False, set()), ((2, 3 * H), True, set()), ((), True, {"reset"})):
        tensors = keras("rnn/gru_cell", 3, shape)
        found = reading(tensors)
        layer, direction = one(found)
        np.testing.assert_array_equal(direction.recurrent_kernel[1], tensors["rnn/gru_cell/recurrent_kernel"][:, :H])
        assert layer.gating.reset_after == after and found.open == {"gate_activation", *still_open}
        assert direction.has_bias == bool(shape)


@pytest.mark.parametrize("name", ["lstm", "encoder_lstm", "LSTM_1", "lstm2"])
def test_cells_that_a_user_named(name: str) -> None:
    """As LSTMCell(4, name=...) in a scope of the same name; what lies beside is none of its variables."""
    tensors = lstm(f"lstm/rnn/{name}", I, H, names={"kernel": "kernel", "bias": "bias"})
    found = reading({**tensors, "lstm/embedding": some(7, I)})
    assert found.part == "lstm/rnn" and found.network.layers[0].cell == "lstm"
    assert f"lstm/rnn/{name} is an LSTMCell, as its name and its variables say" in found.assumptions
    tensors = gru("rnn/memory", I, H, GRUS["r/gru_cell_2"])
    assert reading(tensors).assumptions == ("rnn/memory is a GRUCell, as its name and its variables say",)
    with pytest.raises(FileError, match="no recurrent cell"):
        reading({"rnn/memory/kernel": some(I + H, 4 * H), "rnn/memory/bias": some(4 * H)})


def test_stacks_mix_cells() -> None:
    at = "rnn/multi_rnn_cell/cell_{}/"
    tensors = {
        **gru(at.format(0) + "gru_cell", I, H, GRUS["r/gru_cell_2"]),
        **lstm(at.format(1) + "lstm_cell", H, 5, 2, LSTMS["rnn/lstm_cell"]),
        **cell(at.format(2) + "basic_rnn_cell", 2, 3),
    }
    found = reading(tensors)
    assert [layer.cell for layer in found.network.layers] == ["gru", "lstm", "rnn"]
    assert [layer.output_size for layer in found.network.layers] == [H, 2, 3]
    assert found.open == {"forget_bias"}


def test_a_forget_bias_is_open_only_where_every_lstm_leaves_it_so() -> None:
    at = "rnn/multi_rnn_cell/cell_{}/"
    names = {"kernel": "kernel", "bias": "bias"}
    tensors = lstm(at.format(0) + "cudnn_compatible_lstm_cell", I, H, names=names)
    found = reading({**tensors, **lstm(at.format(1) + "lstm_cell", H, H, names=names)})
    assert not found.open and not found.adds_forget_bias
    assert "rnn/multi_rnn_cell/cell_1/lstm_cell adds a forget bias of 1" in found.assumptions[0]


def test_directions_of_one_layer() -> None:
    names = {"kernel": "kernel", "bias": "bias"}
    tensors = {n: a for way in ("fw", "bw") for n, a in lstm(f"b/{way}/lstm_cell", I, H, names=names).items()}
    (layer,) = reading(tensors).network.layers
    assert [d.reverse for d in layer.directions] == [False, True]
    del tensors["b/bw/lstm_cell/kernel"], tensors["b/bw/lstm_cell/bias"]
    with pytest.raises(UnsupportedError, match="b/fw/lstm_cell and b/bw/gru_cell are cells of two kinds"):
        reading({**tensors, **gru("b/bw/gru_cell", I, H, GRUS["r/gru_cell_2"])})
    with pytest.raises(FileError, match="both directions must have the same sizes"):
        reading({**tensors, **lstm("b/bw/lstm_cell", I, H + 1, names=names)})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"kernel": some(H, 4 * H)}, r"kernel has shape \(4, 16\); its columns must be 4 gates, and its rows \[x, h\]"),
        ({"kernel": some(I + H, 4 * H + 1)}, r"kernel has shape \(7, 17\)"),
        ({"kernel": some(28)}, r"kernel has shape \(28,\)"),
        ({"bias": some(3 * H)}, r"bias has shape \(12,\); with 4 units it must have \(16,\)"),
        ({"w_f_diag": some(H + 1)}, r"w_f_diag has shape \(5,\)"),
        ({"w_f_diag": None}, "has no peephole_f"),
        ({"w_f_diag": None, "bias": None}, "has no bias and no peephole_f"),
        ({"kernel": None}, "has no kernel"),
        ({"projection/kernel": some(H + 1, I + H - 1)}, r"projection/kernel has shape \(5, 6\)"),
        ({"projection/kernel": some(4)}, r"kernel has shape \(7, 16\)"),
        ({"bias": np.full(4 * H, np.nan, np.float32)}, "bias holds 16 NaN"),
        ({"kernel": some(I + H, 4 * H).astype(np.int32)}, "kernel holds int32"),
        ({"transform/gamma": some(H)}, "holds rnn/lstm_cell/transform/gamma, which is no variable of such a cell"),
    ],
)
def test_weights_that_no_lstm_can_have(change: dict[str, Array | None], found: str) -> None:
    tensors: dict[str, Array | None] = {**lstm("rnn/lstm_cell", I, H)}
    tensors |= {f"rnn/lstm_cell/{name}": array for name, array in change.items()}
    with pytest.raises(FileError, match=found):
        reading({name: array for name, array in tensors.items() if array is not None})


def test_slots_are_no_variables() -> None:
    tensors = gru("rnn/gru_cell", I, H)
    slots = {f"{name}/{slot}": array for name, array in tensors.items() for slot in ("Adam", "Adam_1")}
    found = reading({**tensors, **slots})
    assert set(found.roles) == set(tensors) and set(found.unused) == set(slots)


@pytest.mark.parametrize(
    "name",
    [
        *("layer_norm_basic_lstm_cell", "conv_lstm_cell", "phased_lstm_cell", "nas_cell", "ugrnn_cell"),
        *("grid_lstm_cell", "time_freq_lstm_cell", "intersection_rnn_cell", "sru_cell", "indy_gru_cell"),
    ],
)
def test_other_cells_are_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"gates \({name}\); this version compares the cells of TensorFlow 1"):
        reading({f"rnn/{name}/kernel": some(I + H, 4 * H), f"rnn/{name}/bias": some(4 * H)})


def test_moving_averages_of_a_genuine_file() -> None:
    path = Path(__file__).parents[2] / "fixtures/genuine/tf-1.1.0/lstm_emb_adam_ema_v2"
    plain, average = (read(tf_checkpoint.read(path), selector) for selector in (None, "ema"))
    assert average.part == "rnn:ema" and average.network.fingerprint() != plain.network.fingerprint()
    assert all(name.endswith("/ExponentialMovingAverage") for name in average.roles)
