"""What the tensors of one file have to be for the network of another; what they cannot be is told."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from in_every_layout import after, network, opened
from networks import gated

sys.path.append(str(Path(__file__).parents[1] / "adapters"))

from keras_models import held, layer, named, sequential
from keras_models import weights as keras_weights

from rnnverify.adapters.keras import adapter as keras
from rnnverify.adapters.torch import adapter as torch
from rnnverify.canonical import CellKind
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.porting.array_code import Call
from rnnverify.porting.assembly import Assembly, assemble
from rnnverify.porting.origins import origins
from rnnverify.porting.setters import set_to
from rnnverify.sides import Opened, Source
from rnnverify.weights import compare_weights


def side_of(contents: Contents, label: str = "A") -> Opened:
    return Opened(Source(label, "m", Path("m"), "keras", None), contents, keras.read(contents, None), None)


def cudnn(cell: CellKind, label: str = "A") -> Opened:
    """A layer of cuDNN, I 3 and H 4, as Keras 2 stores it."""
    gates = {"gru": 3, "lstm": 4}[cell]
    kernel, recurrent, _ = keras_weights(3, 4, gates=gates)
    arrays = [kernel, recurrent, np.random.default_rng(5).normal(size=2 * gates * 4).astype(np.float32)]
    stored = layer(f"CuDNN{cell.upper()}", "a", units=4, return_sequences=True, go_backwards=False)
    return side_of(held(sequential(stored), {"a": named("a/", arrays)}, version="2.2.4"), label)


def plain(cell: CellKind, label: str = "A") -> Opened:
    """The same as PyTorch stores it."""
    names = {"weight_ih_l0": 1, "weight_hh_l0": 1, "bias_ih_l0": 0, "bias_hh_l0": 0}
    rng, gates = np.random.default_rng(6), {"gru": 3, "lstm": 4}[cell]
    tensors = {}
    for name, matrix in names.items():
        shape = (4 * gates, 3 if name == "weight_ih_l0" else 4)[: 1 + matrix]
        array = rng.normal(size=shape).astype(np.float32)
        tensors[name] = StoredTensor(name, shape, "float32", array.copy)
    contents = Contents(Path("m"), "PyTorch zip", "torch", tensors)
    return Opened(Source(label, "m", Path("m"), "torch", None), contents, torch.read(contents, None), None)


def assembled(right: Opened, wrong: Opened) -> Assembly | None:
    assert right.network and wrong.network
    places = origins(right), origins(wrong)
    assert places[0] and places[1]
    return assemble(places[0], right.network, places[1], wrong.network, "A")


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("way", ["from cuDNN", "to cuDNN", "from cuDNN to cuDNN"])
def test_the_layers_of_cudnn(cell: CellKind, way: str) -> None:
    right = cudnn(cell) if way.startswith("from") else plain(cell)
    wrong = cudnn(cell, "B") if way.endswith("to cuDNN") else plain(cell, "B")
    made = assembled(right, wrong)
    assert made and not made.beyond and wrong.reading and right.network
    lines = [line for each in made.assignments if (line := set_to(each, wrong.reading))]
    tensors, reasons = compare_weights(right.network, after(lines, right, wrong))
    assert not reasons and not any(tensor.differing for tensor in tensors)
    if way == "from cuDNN":
        assert 'A["a/a/kernel:0"][:, 4:8].reshape(4, 3)' in "\n".join(lines)
    if way == "to cuDNN":
        assert 'keras.backend.set_value(model.get_layer("a").kernel, ' in lines[0]


def test_a_forget_bias_is_added_and_taken_off(fixtures: Path) -> None:
    ours, theirs = opened(fixtures / "gates/basic_lstm.pb"), plain("lstm", "B")
    there, back = assembled(ours, theirs), assembled(theirs, ours)
    assert there and back
    (added,) = (each.value for each in there.assignments if each.name == "bias_hh_l0")
    assert "np.full(4, 0.25, np.float32)" in str(added)
    (taken,) = (each.value for each in back.assignments if each.name.endswith("bias"))
    assert 'A["bias_ih_l0"][4:8] + A["bias_hh_l0"][4:8] - 0.25' in str(taken)


def test_tied_gates_take_only_tied_ones(fixtures: Path) -> None:
    tied, apart = opened(fixtures / "gates/coupled.pb"), plain("lstm", "B")
    there, back = assembled(tied, apart), assembled(apart, tied)
    assert there and back and tied.network
    assert ("layer 0", "kernel") not in there.beyond
    (kernel,) = (each.value for each in there.assignments if each.name == "weight_ih_l0")
    assert isinstance(kernel, Call) and str(kernel.arguments[0]).startswith("-A[")
    assert {("layer 0", part) for part in ("kernel", "recurrent kernel", "bias")} <= back.beyond
    again = assembled(tied, tied)
    assert again and not again.beyond


def test_what_one_side_lacks_is_beyond(fixtures: Path) -> None:
    looking, plain_one = opened(fixtures / "gates/all_of_lstm.pb"), plain("lstm", "B")
    assert looking.network and looking.network.layers[0].directions[0].peephole is not None
    made = assembled(looking, plain_one)
    assert made and ("layer 0", "peephole") in made.beyond and ("layer 0", "kernel") not in made.beyond


def test_a_bias_that_neither_has_needs_no_line(fixtures: Path) -> None:
    without = opened(fixtures / "genuine/torch-2.13.0/rnn_nobias_sd/model.pt")
    made = assembled(without, without)
    assert made and not made.beyond and len(made.assignments) == 2


def test_networks_of_other_shapes_have_no_assembly(fixtures: Path) -> None:
    side = plain("lstm")
    places = origins(side)
    assert places and side.network
    for other in (gated("lstm", 3, 5), network("gru", "single", 1), network("lstm", "both ways", 1)):
        assert assemble(places, side.network, places, other, "A") is None
    assert assembled(opened(fixtures / "rnn.pt"), side) is None
