"""GRU and LSTM run by Keras, from every layout, both ways, stacked and from given states, against the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import gated, gates

from rnnverify import reference
from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.canonical import GATES, Array, CellKind, Direction, Gating, Layer, Network, reorder
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.runner_process import Limits
from rnnverify.trace import FROM_H0, ZERO, Batch, Trace

STORED: dict[CellKind, str] = {"rnn": "h", "gru": "zrn", "lstm": "ifgo"}
KINDS = {"rnn": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}


def joined(array: Array, cell: CellKind) -> Array:
    return np.concatenate([*reorder(array, GATES[cell], STORED[cell])], axis=-1)


def in_one(layer: Layer, d: Direction) -> list[Array]:
    """As Keras 2 and 3 store a cell; what has one bias there has one here."""
    bias = joined(d.bias_input, layer.cell)
    if layer.cell == "gru" and layer.gating.reset_after:
        bias = np.stack([bias, joined(d.bias_recurrent, layer.cell)])
    return [joined(d.kernel, layer.cell), joined(d.recurrent_kernel, layer.cell), bias]


def of_cudnn(layer: Layer, d: Direction) -> list[Array]:
    """As CuDNNGRU and CuDNNLSTM do: each gate's matrices are cuDNN's own buffers, of samples as columns."""
    parts = [reorder(array, GATES[layer.cell], STORED[layer.cell]) for array in (d.kernel, d.recurrent_kernel)]
    kernel = [np.ascontiguousarray(gate.T).reshape(gate.shape) for gate in parts[0]]
    biases = [joined(each, layer.cell) for each in (d.bias_input, d.bias_recurrent)]
    return [np.concatenate(kernel, 1), np.concatenate([gate.T for gate in parts[1]], 1), np.concatenate(biases)]


def gate_by_gate(layer: Layer, d: Direction) -> list[Array]:
    """As Keras 0 and 1 do."""
    order = {"gru": "zrn", "lstm": "igfo"}[layer.cell]
    at = [GATES[layer.cell].index(gate) for gate in order]
    return [array[k] for k in at for array in (d.kernel, d.recurrent_kernel, d.bias_input)]


def one_bias(network: Network) -> Network:
    """Without the second bias, but for the GRUs that keep it."""
    layers = [
        y
        if y.cell == "gru" and y.gating.reset_after
        else replace(y, directions=tuple(replace(d, bias_recurrent=d.bias_recurrent * 0) for d in y.directions))
        for y in network.layers
    ]
    return Network(tuple(layers))


def reading(network: Network, form: str = "one", stacked: bool = False) -> Reading:
    """`network` as the arrays of a Keras file, one layer for each of its own, or all as the cells of one."""
    lay = {"one": in_one, "cudnn": of_cudnn, "gates": gate_by_gate}[form]
    tensors: dict[str, Array] = {}
    named: list[list[list[str]]] = []
    for k, layer in enumerate(network.layers):
        named.append([])
        for d, direction in enumerate(layer.directions):
            arrays = {f"{k}/{d}/{n}": array for n, array in enumerate(lay(layer, direction))}
            tensors |= arrays
            named[-1].append([*arrays])
    cells = [{"units": y.hidden_size, "use_bias": True, "cudnn": form == "cudnn"} for y in network.layers]
    specs = []
    for k, layer in enumerate(network.layers[: 1 if stacked else None]):
        own = named if stacked else named[k : k + 1]
        specs.append(
            {
                "name": f"layer_{k}",
                "path": [f"layer_{k}"],
                "kind": "RNN" if stacked else ("CuDNN" if form == "cudnn" else "") + KINDS[layer.cell],
                "cells": cells if stacked else cells[k : k + 1],
                "go_backwards": not layer.bidirectional and layer.directions[0].reverse,
                "bidirectional": layer.bidirectional,
                "merge_mode": layer.merge if layer.bidirectional else None,
                "tensors": [[each[d] for each in own] for d in range(len(layer.directions))],
            }
        )
    return Reading(network, Recipe("keras", tuple(specs), tensors, loadable=False), "rnn", True, {})


def both_ways(cell: CellKind, I: int, H: int, gating: Gating, merge: str = "concat") -> Layer:
    rng = np.random.default_rng(H)
    directions = (gates(rng, cell, I, H), gates(rng, cell, I, H, reverse=True))
    return Layer(directions, cell=cell, gating=gating, merge=merge)  # type: ignore[arg-type]  # a merge mode


HARD = Gating("keras2_hard_sigmoid", reset_after=False)
BEFORE: dict[CellKind, Network] = {"gru": gated("gru", reset_after=False), "lstm": gated("lstm")}
BACKWARD = replace(BEFORE["lstm"].layers[0].directions[0], reverse=True)
THREE = [*gated("lstm", 3, 4).layers, *gated("gru", 4, 5).layers, *gated("lstm", 5, 2).layers]
CASES: dict[str, Reading] = {
    "gru": reading(one_bias(BEFORE["gru"])),
    "lstm": reading(one_bias(BEFORE["lstm"])),
    "gru gate by gate": reading(one_bias(BEFORE["gru"]), "gates"),
    "lstm gate by gate": reading(one_bias(BEFORE["lstm"]), "gates"),
    "gru after": reading(gated("gru")),
    "gru cudnn": reading(gated("gru"), "cudnn"),
    "lstm cudnn": reading(gated("lstm"), "cudnn"),
    "hard both ways": reading(one_bias(Network((both_ways("lstm", 3, 4, HARD), both_ways("gru", 8, 4, HARD, "sum"))))),
    "hard of Keras 3": reading(one_bias(gated("lstm", activation="hard_sigmoid"))),
    "backward": reading(one_bias(Network((Layer((BACKWARD,), cell="lstm", time_restored=False),)))),
    "cells": reading(one_bias(Network(tuple(THREE))), stacked=True),
}


def given(network: Network, T: int = 6) -> Iterator[Batch]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, T, network.input_size)).astype(np.float32)
    h0, c0 = (tuple(rng.normal(size=(2, n)).astype(np.float32) for n in sizes) for sizes in network.state_sizes())
    yield Batch(ZERO, x)
    yield Batch(FROM_H0, x, h0, c0 or None)


def run(jobs: Sequence[Job]) -> list[Trace]:
    with Runners(Limits()) as runners:
        runners.submit(jobs)
        return [runners.collect(job)[0] for job in jobs]


def deviation(trace: Trace, job: Job) -> float:
    """The largest of outputs, states of every step, and final states."""
    worst = 0.0
    wanted = reference.run(job.reading.network, job.batches)
    for name, found in trace.runs.items():
        ours = wanted.runs[name]
        pairs = [(found.y, ours.y)]
        for a, b in ((found.h_n, ours.h_n), (found.c_n, ours.c_n), (found.states, ours.states)):
            assert len(a) == len(b) or a is found.states
            pairs += zip(a, b, strict=False)
        worst = max([worst, *(float(np.abs(a - b).max()) for a, b in pairs)])
    return worst


@pytest.fixture(scope="module")
def ran() -> dict[str, tuple[Job, Trace]]:
    long = CASES["hard both ways"]
    jobs = {name: Job(name, name, Path("none.h5"), each, tuple(given(each.network))) for name, each in CASES.items()}
    jobs["long"] = Job("long", "long", Path("none.h5"), long, tuple(given(long.network, 1100)))
    return dict(zip(jobs, zip(jobs.values(), run([*jobs.values()]), strict=True), strict=True))


@pytest.mark.parametrize("name", [*CASES, "long"])
def test_it_computes_what_the_reference_does(ran: dict[str, tuple[Job, Trace]], name: str) -> None:
    job, trace = ran[name]
    assert deviation(trace, job) < 2e-6
    layers = trace.provenance["layer"]
    assert "keras.layers." in str(layers)


def test_gates_in_another_order_are_another_network(ran: dict[str, tuple[Job, Trace]]) -> None:
    job, trace = ran["gru after"]
    (layer,) = job.reading.network.layers
    swapped = layer.directions[0].mapped(lambda array: reorder(array, "rzn", "zrn"))
    wrong = replace(job.reading, network=Network((replace(layer, directions=(swapped,)),)))
    assert deviation(trace, replace(job, reading=wrong)) > 0.01


def test_the_hard_sigmoid_of_keras_3_is_another(ran: dict[str, tuple[Job, Trace]]) -> None:
    job, trace = ran["hard of Keras 3"]
    (layer,) = job.reading.network.layers
    older = Network((replace(layer, gating=HARD),))
    assert deviation(trace, replace(job, reading=replace(job.reading, network=older))) > 0.001
