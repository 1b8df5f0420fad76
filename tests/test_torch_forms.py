"""PyTorch's forms beside each other, run by PyTorch: the same weights are the same network in all of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import rnnverify
from rnnverify.assumptions import Assumed
from rnnverify.inputs import InputOptions
from rnnverify.options import Options

FEW = Options(inputs=InputOptions(sequences=2, steps=5), assumed=Assumed(activations=("tanh",)))


def test_cells_written_by_hand_shards_and_a_whole_module_are_the_same_network(fixtures: Path, tmp_path: Path) -> None:
    state = load_file(fixtures / "rnn.safetensors")
    W, U, b, c = (state[f"{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    forms = {
        "pair": {"i2h.weight": W, "i2h.bias": b, "h2h.weight": U, "h2h.bias": c},
        "xh": {"i2h.weight": np.hstack([W, U]), "i2h.bias": b + c},
        "hx": {"i2h.weight": np.hstack([U, W]), "i2h.bias": b + c},
        "matmul": {"W_xh": np.ascontiguousarray(W.T), "W_hh": np.ascontiguousarray(U.T), "b_h": b + c},
    }
    for name, tensors in forms.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
    shards = tmp_path / "shards"
    shards.mkdir()
    for name, tensor in state.items():
        save_file({name: tensor}, shards / f"{name}.safetensors")
    (shards / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {name: f"{name}.safetensors" for name in state}})
    )
    given = [str(tmp_path / f"{name}.safetensors") + ("#i2h:hx" if name == "hx" else "") for name in forms]
    result = rnnverify.compare(fixtures / "whole_module.pt", *given, shards, options=FEW)
    assert {pair.verdict for pair in result.pairs} <= {"IDENTICAL", "EQUIVALENT"}
    ways = [side.how for side in result.sides]
    assert ways[0] == "torch.nn.RNN, loaded by torch.load(weights_only=True), torch.nn.modules.rnn.RNN allowed"
    assert ways[1:5] == ["written by hand, loaded by safetensors.torch.load_file"] * 4
    assert ways[5] == "torch.nn.RNN, loaded by safetensors.torch.load_file"
    assert not result.sides[0].assumptions


def test_a_batch_second_module_is_fed_the_same_sequences(fixtures: Path) -> None:
    folder = fixtures / "genuine"
    first, second = "torch-2.13.0/rnn_a_module/model.pt", "torch-1.12.1/rnn_a_module_tbi/model.pth"
    result = rnnverify.compare(folder / first, folder / second, options=Options(inputs=FEW.inputs))
    assert result.verdict in ("IDENTICAL", "EQUIVALENT")
    assert "batch_first=False" in result.sides[1].notes[0]
    assert all("loaded by torch.load" in side.how for side in result.sides)
