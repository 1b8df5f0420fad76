"""The lines under a finding are run as they are, on the tensors of the wrong side, and make them the right ones."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx_files import recurrent, weights

from rnnverify.adapters import Reading, restate
from rnnverify.canonical import Array, Network
from rnnverify.finding import Finding
from rnnverify.porting.fix_code import with_code
from rnnverify.sides import Opened, open_side, parse

# each case: the arrays of the right file in A, the code, and the wrong tensors by name after it ran
RUN = """
import json, os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np

class Variable:
    def __init__(self, value):
        self.value = value
    def assign(self, value):
        assert value.shape == self.value.shape
        self.value = value
    def load(self, value, session):
        self.assign(value)

class Part:
    pass

class Model:
    def __init__(self, layers):
        self.layers = layers
    def get_layer(self, name):
        return self.layers[name]

def cell(names, arrays):
    made = Part()
    made.cell = Part()
    for variable, name in zip(("kernel", "recurrent_kernel", "bias"), names):
        setattr(made.cell, variable, Variable(arrays[name]))
    return made

for case in json.load(open(sys.argv[1])):
    A, wrong = dict(np.load(case["right"])), dict(np.load(case["wrong"]))
    names = {"A": A, "np": np}
    if case["framework"] == "torch":
        import torch
        names |= {"torch": torch, "state_dict": {name: torch.from_numpy(array) for name, array in wrong.items()}}
        exec(case["code"], names)
        found = {name: tensor.numpy() for name, tensor in names["state_dict"].items()}
    elif case["framework"] == "flax":
        names["flat"] = found = wrong
        exec(case["code"], names)
    elif case["framework"] == "tensorflow":
        names |= {"session": None, "variables": {name: Variable(array) for name, array in wrong.items()}}
        exec(case["code"], names)
        found = {name: variable.value for name, variable in names["variables"].items()}
    else:
        layers, held = {}, {}
        for spec in case["layers"]:
            tensors = [cells[0] for cells in spec["tensors"]]  # of each direction
            made = Part() if spec["bidirectional"] else cell(tensors[0], wrong)
            if spec["bidirectional"]:
                made.forward_layer, made.backward_layer = (cell(each, wrong) for each in tensors)
            parts = [made.forward_layer, made.backward_layer] if spec["bidirectional"] else [made]
            layers[spec["name"]] = made
            for part, each in zip(parts, tensors):
                held |= {name: getattr(part.cell, v) for v, name in zip(("kernel", "recurrent_kernel", "bias"), each)}
        exec(case["code"], {**names, "model": Model(layers)})
        found = {name: variable.value for name, variable in held.items()}
    np.savez(case["found"], **found)
"""

PAIRS = {
    "torch": ("simple_rnn.h5", "rnn.pt"),
    "both ways": ("bidirectional.keras", "bidirectional.pt"),
    "keras": ("rnn.pt", "simple_rnn.h5"),
    "stacked": ("two_parts.pt#below+above", "stacked.keras"),
    "backward layer": ("bidirectional.pt", "bidirectional.keras"),
    "tensorflow": ("rnn.pt", "basic_rnn_cell.ckpt"),
    "linen": ("rnn.pt", "simple_cell.msgpack"),
    "nnx": ("two_parts.pt#below+above", "stacked_nnx.npz"),
    "both ways in flax": ("bidirectional.keras", "bidirectional_nnx"),
    "from flax": ("simple_cell.msgpack", "rnn.pt"),
    "gates": ("mixed.pt2#lstm+gru+rnn", "mixed.pt#lstm+gru+rnn"),
    "scopes": ("two_parts.pt#below+above", "stacked.ckpt"),
}
"""Files that hold one network: what the code makes of zeros is known."""


def opened(name: str, fixtures: Path) -> Opened:
    return open_side(parse(str(fixtures / name), "A"))


def reading(side: Opened) -> Reading:
    assert side.reading
    return side.reading


def changed(side: Opened, network: Network) -> Opened:
    """The same file, read as another network."""
    return replace(side, reading=replace(reading(side), network=network))


def every_tensor(of: Reading) -> tuple[str, ...]:
    return tuple(
        f"{w} {part}"
        for w, _, _ in of.network.directions()
        for part in ("kernel", "recurrent kernel", "bias", "projection")
    )


def finding(tensors: tuple[str, ...], side: str = "B") -> Finding:
    return Finding("a mistake", "Undo it.", "certain", 1.0, 0.0, "", side, tensors)


def coded(right: Opened, wrong: Opened, tensors: tuple[str, ...]) -> Finding:
    (found,) = with_code((finding(tensors),), ("A", "B"), {"A": right, "B": wrong})
    return found


def test_the_lines_make_wrong_tensors_right(fixtures: Path, tmp_path: Path) -> None:
    cases, wanted = [], {}
    for name, (one, other) in PAIRS.items():
        right, wrong = opened(one, fixtures), opened(other, fixtures)
        held = reading(wrong).recipe
        behind = {spec[key] for spec in held.head for key in ("kernel", "bias")}
        recurrent = {key: array for key, array in held.tensors.items() if key not in behind}
        arrays: dict[str, Array] = {key: np.zeros_like(array) for key, array in recurrent.items()}
        np.savez(tmp_path / f"{name}-right.npz", **dict(reading(right).recipe.tensors))  # type: ignore[arg-type]  # names as they are
        np.savez(tmp_path / f"{name}-wrong.npz", **arrays)  # type: ignore[arg-type]
        found = coded(right, wrong, every_tensor(reading(wrong)))
        assert set(found.names) == set(recurrent), name
        wanted[name] = recurrent
        cases.append(
            {
                "framework": held.framework,
                "layers": list(map(dict, held.layers)),
                "code": "\n".join(found.code),
                **{key: str(tmp_path / f"{name}-{key}.npz") for key in ("right", "wrong", "found")},
            }
        )
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, "-c", RUN, str(tmp_path / "cases.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, tensors in wanted.items():
        made = dict(np.load(tmp_path / f"{name}-found.npz"))
        biases = [key for key in tensors if "bias" in key]
        for key, array in tensors.items():
            if key in biases:  # one bias may be in two tensors
                continue
            assert np.array_equal(made[key], array), (name, key)
        summed = [sum(float(np.sum(held[key], dtype=np.float64)) for key in biases) for held in (made, tensors)]
        assert abs(summed[0] - summed[1]) < 1e-5, name


def test_only_the_wrong_tensors_are_set(fixtures: Path) -> None:
    right, wrong = opened("simple_rnn.h5", fixtures), opened("rnn.pt", fixtures)
    found = coded(right, wrong, ("layer 0 recurrent kernel",))
    head, line = found.code
    assert head.startswith("# A[name]")
    array = 'A["rnn/sequential/rnn/simple_rnn_cell/recurrent_kernel"]'
    assert line == f'state_dict["weight_hh_l0"] = torch.from_numpy({array}.T)'
    assert found.names == ("weight_hh_l0",)
    assert coded(right, wrong, ()).code == ()


def test_some_of_the_gates_are_set_with_their_tensor(fixtures: Path) -> None:
    right, wrong = (opened(f"mixed.{end}#lstm+gru+rnn", fixtures) for end in ("pt2", "pt"))
    tensors = ("layer 1 reverse recurrent bias of the candidate", "layer 0 projection")
    assert coded(right, wrong, tensors).names == (
        "lstm.weight_hr_l0",
        "gru.bias_ih_l0_reverse",
        "gru.bias_hh_l0_reverse",
    )
    assert len(coded(right, wrong, tensors).code) == 4


def test_a_trace_has_no_names_and_gives_no_code(fixtures: Path) -> None:
    file = opened("rnn.pt", fixtures)
    tensors = ("layer 0 kernel",)
    (found,) = with_code((finding(tensors),), ("A", "B"), {"A": file})
    assert (found.names, found.code) == ((), ())
    (found,) = with_code((finding(tensors, "A"),), ("A", "B"), {"A": file})
    assert (found.names, found.code) == (("weight_ih_l0",), ())


@pytest.mark.parametrize(
    ("wrong", "tensors", "line"),
    [
        ("rnn.pt", ("layer 0 activation",), 'torch.nn.RNN(5, 8, nonlinearity="relu")'),
        (
            "simple_rnn.h5",
            ("layer 0 activation",),
            'keras.layers.SimpleRNN(8, activation="relu", return_sequences=True)',
        ),
        ("basic_rnn_cell.ckpt", ("layer 0 activation",), "BasicRNNCell(8, activation=tf.nn.relu)"),
        ("simple_rnn.h5", ("layer 0 order of time",), "go_backwards=False"),
    ],
)
def test_what_is_no_tensor(wrong: str, tensors: tuple[str, ...], line: str, fixtures: Path) -> None:
    right = opened("rnn.pt", fixtures)
    relu = changed(right, reading(right).network.with_activations(("relu",)))
    (found,) = coded(relu, opened(wrong, fixtures), tensors).code
    assert line in found


def test_the_lines_for_an_onnx_node(tmp_path: Path) -> None:
    """From another node, run as they are on its initializers."""
    stored = weights(D=2)
    for name, arrays in (("right", stored), ("wrong", {key: np.zeros_like(array) for key, array in stored.items()})):
        (tmp_path / f"{name}.onnx").write_bytes(recurrent(arrays, direction="bidirectional"))
    right, wrong = (opened(f"{name}.onnx", tmp_path) for name in ("right", "wrong"))
    found = coded(right, wrong, every_tensor(reading(wrong)))
    assert found.names == ("W", "R", "B") and "model.graph.initializer" in found.code[0]
    tensors = {key: np.zeros_like(array) for key, array in stored.items()}
    exec("\n".join(found.code), {"A": stored, "np": np, "tensors": tensors})
    assert all(np.array_equal(tensors[key], array) for key, array in stored.items())
    facts = ("layer 0 activation", "layer 0 merge mode", "layer 0 kernel")
    lines = coded(right, wrong, facts).code
    assert "# of the node: direction='forward', hidden_size=4, activations=['Tanh']" in lines
    assert "y = np.concatenate([Y[:, 0], Y[:, 1]], -1)" in lines


def test_an_onnx_node_without_biases(tmp_path: Path) -> None:
    stored = weights()
    (tmp_path / "right.onnx").write_bytes(recurrent(stored, direction="reverse"))
    del stored["B"]
    (tmp_path / "wrong.onnx").write_bytes(recurrent(stored, inputs=["X", "W", "R"]))
    right, wrong = (opened(f"{name}.onnx", tmp_path) for name in ("right", "wrong"))
    lines = coded(right, wrong, ("layer 0 bias", "layer 0 order of time")).code
    assert lines == ("# layer 0: it has no bias: make the layer with one", "# of the node: direction='reverse'")


def test_what_is_no_tensor_is_spelled_for_flax_too(fixtures: Path) -> None:
    wrong = opened("bidirectional_nnx", fixtures)
    (layer,) = reading(wrong).network.layers
    right = changed(wrong, Network((replace(layer, merge="sum", activation="relu"),)))
    code = coded(right, wrong, ("layer 0 activation", "layer 0 merge mode")).code
    assert code == (
        "nn.SimpleCell(8, activation_fn=jax.nn.relu)",
        "nn.Bidirectional(forward, backward, merge_fn=lambda a, b: a + b)",
    )
    one = opened("simple_cell.msgpack", fixtures)
    turned = replace(one, reading=restate(reading(one), None, True))
    assert coded(turned, one, ("layer 0 order of time",)).code == ("nn.RNN(cell, reverse=True, keep_order=False)",)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("gru_nnx.msgpack", ("cell/dense_h/kernel",)),
        ("lstm_nnx.msgpack", tuple(f"cell/h{gate}/kernel" for gate in "fgio")),
        ("gru.eqx", ("leaf 1",)),
    ],
)
def test_gated_cells_of_jax_have_a_line_for_each_array(name: str, names: tuple[str, ...], fixtures: Path) -> None:
    one = opened(name, fixtures)
    found = coded(one, one, ("layer 0 recurrent kernel",))
    assert set(found.names) == set(names) and len(found.code) == len(names) + 1


@pytest.mark.parametrize(
    "name",
    ["gates/both_ways.pb", "genuine/keras-2.2.4/gru_ra_bi_h5/model.h5", "genuine/keras-2.2.4/lstm_hs_h5/model.h5"],
)
def test_tensors_of_gates_are_named_in_every_framework(name: str, fixtures: Path) -> None:
    wrong = opened(name, fixtures)
    found = coded(wrong, wrong, every_tensor(reading(wrong)))
    assert set(found.names) == set(reading(wrong).recipe.tensors) and len(found.code) == len(found.names) + 1
