"""Mistakes that people reported, each planted in files and recordings as it happened to them: its cause comes first.

Names are those of the reports' usual words, with a link to one of them where `rnnverify/diagnosis` has none.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from networks import bidirectional, computed, single, stacked
from safetensors.numpy import save_file
from sides import files, names, port

from rnnverify.adapters.layouts import lay_out
from rnnverify.canonical import Array, Direction, Network
from rnnverify.mistakes import each
from rnnverify.trace import ZERO, Batch, Trace
from rnnverify.trace_file import save

Plant = Callable[[Network], Network]


def in_each(change: Callable[[Direction], Direction]) -> Plant:
    return lambda network: each(network, change)


def both_ways(change: Callable[[Direction, Direction], tuple[Direction, Direction]]) -> Plant:
    def plant(network: Network) -> Network:
        layers = tuple(replace(layer, directions=change(*layer.directions)) for layer in network.layers)
        return replace(network, layers=layers)

    return plant


def over_hx(d: Direction) -> Direction:
    rows = np.concatenate([d.kernel, d.recurrent_kernel], axis=1)
    return replace(d, kernel=rows[:, d.hidden_size :], recurrent_kernel=rows[:, : d.hidden_size])


def as_cudnn(d: Direction) -> Direction:
    """A cuDNN file read as plain Keras: W.reshape(I, H).T where W.T is stored, and U.T."""
    W = d.kernel[0].reshape(d.hidden_size, d.input_size).T[None]
    return replace(d, kernel=W, recurrent_kernel=d.recurrent_kernel.swapaxes(1, 2))


def turned(network: Network) -> Network:
    (d,) = network.layers[0].directions
    return Network((replace(network.layers[0], directions=(replace(d, reverse=not d.reverse),)), *network.layers[1:]))


def swapped(network: Network) -> Network:
    first, second, *rest = network.layers
    return Network((second, first, *rest))


def not_turned_back(network: Network) -> Network:
    return replace(network, layers=tuple(replace(layer, time_restored=False) for layer in network.layers))


def int8(w: Array) -> Array:
    scale = np.abs(w).max() / 127
    return np.asarray(np.round(w / scale) * scale, np.float32)


ONE, SQUARE, TWO, THREE = (
    single(5, 8, seed=31),
    single(8, 8, seed=32),
    bidirectional(5, 6, seed=33),
    stacked(6, [6] * 3),
)
TRANSPOSED, RESHAPED = (
    "the recurrent kernel is transposed",
    "the input kernel is reshaped where it should be transposed",
)
PLANTS: dict[str, tuple[Network, Plant, tuple[str, ...]]] = {
    "kernel_reshaped_not_transposed": (ONE, in_each(as_cudnn), (TRANSPOSED, RESHAPED)),
    "kernel_reshaped_not_transposed, b": (
        ONE,
        in_each(lambda d: replace(d, kernel=d.kernel[0].T.reshape(d.kernel.shape))),
        (RESHAPED,),
    ),
    "recurrent_transposed": (
        TWO,
        in_each(lambda d: replace(d, recurrent_kernel=d.recurrent_kernel.swapaxes(1, 2))),
        (TRANSPOSED,),
    ),
    "kernel_transposed_square": (
        SQUARE,
        in_each(lambda d: replace(d, kernel=d.kernel.swapaxes(1, 2))),
        ("a square input kernel is transposed",),
    ),
    "WU_swapped_square": (
        SQUARE,
        in_each(lambda d: replace(d, kernel=d.recurrent_kernel, recurrent_kernel=d.kernel)),
        ("input and recurrent kernel are swapped",),
    ),
    "concat_hx_vs_xh": (ONE, in_each(over_hx), ("a kernel over [x, h] is read as one over [h, x]",)),
    "layers_swapped": (THREE, swapped, ("two layers are swapped",)),
    "fw_bw_swapped": (
        TWO,
        both_ways(lambda f, b: (replace(b, reverse=False), replace(f, reverse=True))),
        ("forward and backward weights are swapped",),
    ),
    "direction_tied": (
        TWO,
        both_ways(lambda f, b: (f, replace(f, reverse=b.reverse))),
        ("the weights of one direction are used in both",),
    ),
    "bias_hh_dropped": (
        THREE,
        in_each(lambda d: replace(d, bias_recurrent=0 * d.bias_recurrent)),
        ("the second of two biases is dropped",),
    ),
    "bias_added_twice": (
        ONE,
        in_each(lambda d: replace(d, bias_input=2 * d.bias_input, bias_recurrent=2 * d.bias_recurrent)),
        ("one bias is copied into both",),
    ),
    "bias_halved": (
        TWO,
        in_each(lambda d: replace(d, bias_input=d.bias_input / 2, bias_recurrent=d.bias_recurrent / 2)),
        ("the bias is halved",),
    ),
    "bias_missing": (
        ONE,
        in_each(lambda d: replace(d, bias_input=0 * d.bias_input, bias_recurrent=0 * d.bias_recurrent)),
        ("the bias is not loaded",),
    ),
    "activation_relu_vs_tanh": (
        THREE,
        lambda n: n.with_activations(("relu",) * 3),
        ("another activation stands in its place",),
    ),
    "hard_sigmoid_slope_changed": (
        ONE.with_activations(("keras2_hard_sigmoid",)),
        lambda n: n.with_activations(("hard_sigmoid",)),
        ("another activation stands in its place",),
    ),
    "activation_missing": (ONE, lambda n: n.with_activations(("linear",)), ("the activation is missing",)),
    "recurrence_lost": (
        TWO,
        in_each(lambda d: replace(d, recurrent_kernel=0 * d.recurrent_kernel)),
        ("the recurrent kernel is not loaded",),
    ),
    "sequence_reversed_or_go_backwards_ignored": (ONE, turned, ("a sequence is read from the wrong end",)),
    "backward_outputs_not_rereversed": (
        TWO,
        not_turned_back,
        ("the outputs of a backward run are not turned back in time",),
    ),
    "bidirectional_merge_mode": (
        bidirectional(5, 6, seed=34, merge="sum"),
        lambda n: Network((replace(n.layers[0], merge="ave"),)),
        ("the two directions are merged in another way",),
    ),
    "float16_rounded": (
        ONE,
        lambda n: n.mapped(lambda w: w.astype(np.float16).astype(np.float32)),
        ("the weights are rounded to fewer digits",),
    ),
    "int8_quantised": (
        TWO,
        in_each(lambda d: replace(d, kernel=int8(d.kernel), recurrent_kernel=int8(d.recurrent_kernel))),
        ("the weights are rounded to fewer digits",),
    ),
}
"""By the name of the report: a right network, what was done to it, and what has to be found."""


@pytest.mark.parametrize(("network", "plant", "wanted"), PLANTS.values(), ids=PLANTS.keys())
@pytest.mark.parametrize("compared", [files, port], ids=["files", "port"])
def test_the_cause_is_named(compared: object, network: Network, plant: Plant, wanted: tuple[str, ...]) -> None:
    assert callable(compared)
    assert sorted(names(compared(network, plant(network)))) == sorted(wanted)


OUTPUTS_TELL = [name for name, (network, _, _) in PLANTS.items() if len(network.layers) > 1]


@pytest.mark.parametrize("name", OUTPUTS_TELL)
def test_outputs_of_a_stack_name_it_too(name: str) -> None:
    network, plant, wanted = PLANTS[name]
    assert sorted(names(port(network, plant(network), states=False))) == sorted(wanted)


def write_torch(network: Network, path: Path) -> Path:
    """A state_dict as safetensors."""
    save_file({name: np.ascontiguousarray(a) for name, a in lay_out(network, "torch", path).tensors.items()}, path)
    return path


def write_keras(network: Network, path: Path) -> Path:
    """A file of weights of `SimpleRNN` layers, as Keras 2 writes it."""
    with h5py.File(path, "w") as file:
        layers = [f"simple_rnn_{k}" for k in range(len(network.layers))]
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.2.4"
        for name, layer in zip(layers, network.layers, strict=True):
            (d,) = layer.directions
            stored = {"kernel": d.kernel[0], "recurrent_kernel": d.recurrent_kernel[0], "bias": d.bias[0]}
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in stored]
            for key, array in stored.items():
                group.create_dataset(f"{name}/{key}:0", data=np.asarray(array, np.float32))
    return path


def write_trace(network: Network, path: Path) -> Path:
    """Outputs alone, recorded on inputs of their own."""
    rng = np.random.default_rng(5)
    batch = Batch(ZERO, rng.normal(size=(4, 12, network.input_size)).astype(np.float32))
    runs = {name: replace(run, h_n=(), states=()) for name, run in computed(network, [batch]).runs.items()}
    save(Trace(runs), path)
    return path


def found(*arguments: object) -> Mapping[str, Any]:
    """The one finding of a comparison on the command line."""
    command = [sys.executable, "-m", "rnnverify", "compare", *map(str, arguments)]
    done = subprocess.run(
        [*command, "--engine", "reference", "--format", "json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    (pair,) = json.loads(done.stdout)["pairs"]
    (finding,) = pair["findings"]
    assert isinstance(finding, dict)
    return finding


FILED = (
    "kernel_reshaped_not_transposed, b",
    "kernel_transposed_square",
    "layers_swapped",
    "bias_halved",
    "int8_quantised",
)


@pytest.mark.parametrize("name", ["recurrent_transposed", *FILED])
def test_real_files_on_the_command_line(name: str, tmp_path: Path) -> None:
    network, plant, wanted = PLANTS[name]
    if len(network.layers[0].directions) > 1:
        network = THREE
    right = write_torch(network, tmp_path / "right.safetensors")
    wrong = write_keras(plant(network), tmp_path / "wrong.h5")
    for first, second, side in ((right, wrong, "B"), (write_keras(network, tmp_path / "right.h5"), None, "B")):
        other = second or write_torch(plant(network), tmp_path / "wrong.safetensors")
        finding = found(first, other)
        assert (finding["name"], finding["side"], finding["proof"]) == (wanted[0], side, "certain")
        if "rounded" not in wanted[0]:
            assert finding["names"] and finding["code"]
            sets = [name for name in finding["names"] if any(json.dumps(name) in line for line in finding["code"])]
            assert sets == finding["names"] or all("assign(" in line for line in finding["code"][1:])


@pytest.mark.parametrize("name", ["layers_swapped", "bias_hh_dropped", "activation_relu_vs_tanh"])
def test_a_trace_of_outputs_on_the_command_line(name: str, tmp_path: Path) -> None:
    network, plant, wanted = PLANTS[name]
    right = write_torch(network, tmp_path / "right.safetensors")
    finding = found(right, write_trace(plant(network), tmp_path / "wrong.npz"))
    assert (finding["name"], finding["side"], finding["proof"]) == (wanted[0], "B", "confirmed")
    assert (finding["names"], finding["code"]) == ([], [])
    assert "Keras: " not in finding["advice"] and "PyTorch: " not in finding["advice"]
