"""One network in files of every framework that can hold it, and lines of code run on what a file holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from flax_files import leaves, packed
from networks import direction, gates

from rnnverify.adapters import read_network
from rnnverify.adapters.layouts import lay_out
from rnnverify.canonical import GATES, Array, CellKind, Direction, Gating, Layer, Network
from rnnverify.containers.contents import FrameworkName, StoredTensor
from rnnverify.errors import UnsupportedError
from rnnverify.jobs import Order
from rnnverify.native import Runners
from rnnverify.porting.setters import SETTERS
from rnnverify.runner_process import Limits
from rnnverify.sides import Opened, open_side, parse

I, H = 3, 4
SHAPES: Mapping[str, tuple[tuple[int, bool], ...]] = {
    "single": ((I, False),),
    "stacked": ((I, False), (H, False)),
    "both ways": ((I, True),),
}
"""The layers of each: how many features they read, and whether they run both ways."""

FORMS: Mapping[FrameworkName, str] = {"torch": "pt", "keras": "h5", "tensorflow": "ckpt", "onnx": "onnx"}


def network(cell: CellKind, shape: str, seed: int, **gating: Any) -> Network:
    """Random weights in layers of `cell`, of `SHAPES[shape]`."""
    rng = np.random.default_rng(seed)

    def one(size: int, reverse: bool) -> Direction:
        made = direction(rng, size, H) if cell == "rnn" else gates(rng, cell, size, H)
        return replace(made, reverse=reverse)

    layers = [
        Layer(tuple(one(size, way) for way in (False, True)[: 1 + both]), cell=cell, gating=Gating(**gating))
        for size, both in SHAPES[shape]
    ]
    return Network(tuple(layers))


def written(networks: Mapping[str, Network], folder: Path) -> dict[tuple[str, str], str]:
    """(name of the network, layout) to the source of a file that holds it."""
    found: dict[tuple[str, str], str] = {}
    orders = []
    for name, each in networks.items():
        for framework, suffix in FORMS.items():
            path = folder / f"{name}-{framework}.{suffix}"
            try:
                layout = lay_out(each, framework, path)
            except UnsupportedError:
                continue
            orders.append(Order(path.name, layout, each.input_size, path, suffix))
            found[name, framework] = f"{path}#{layout.part}" if layout.part and framework != "keras" else str(path)
        if all(layer.gating.reset_after for layer in each.layers):
            found |= {(name, layout): source for layout, source in _jax_files(each, folder, name)}
    with Runners(Limits()) as runners:
        runners.write(*orders)
    return found


def _jax_files(network: Network, folder: Path, name: str) -> Iterator[tuple[str, str]]:
    cell = network.layers[0].cell
    for layout, tree in (("linen", _linen), ("nnx", _nnx)):
        path = folder / f"{name}-{layout}.msgpack"
        cells = [[tree(cell, d) for d in layer.directions] for layer in network.layers]
        driven: list[Any] = [
            {"cell": each[0]} if len(each) == 1 else {f"{way}_rnn": {"cell": c} for way, c in _ways(each)}
            for each in cells
        ]
        whole = driven[0] if len(driven) == 1 else {f"Cell_{k}": each for k, each in enumerate(driven)}
        path.write_bytes(packed({"params": whole} if layout == "linen" else whole))
        part = "" if len(driven) == 1 else "#" + "+".join(whole)
        yield layout, f"{path}{part}"
    if cell != "rnn":
        path = folder / f"{name}.eqx"
        directions = [d for layer in network.layers for d in layer.directions]
        path.write_bytes(leaves([array for d in directions for array in _equinox(cell, d)]))
        names = [f"{cell.upper()}Cell_{k}" for k in range(len(directions))]
        part = "#" + ("," if network.layers[0].bidirectional else "+").join(names) if len(names) > 1 else ""
        yield "equinox", f"equinox:{path}{part}"


def _ways(each: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    yield from zip(("forward", "backward"), each, strict=True)


def _biases(cell: CellKind, d: Direction) -> tuple[Array, Array]:
    """(G, H) as one bias for each gate, and the (H,) that stays inside the reset of a GRU."""
    total = np.array(d.bias_input + d.bias_recurrent)
    if cell == "gru":
        total[2] = d.bias_input[2]
    return total, d.bias_recurrent[-1]


def _linen(cell: CellKind, d: Direction) -> dict[str, dict[str, Array]]:
    bias, inside = _biases(cell, d)
    letters = [""] if cell == "rnn" else list(GATES[cell])
    tree: dict[str, dict[str, Array]] = {}
    for g, letter in enumerate(letters):
        tree[f"i{letter}"] = {"kernel": d.kernel[g]}
        tree[f"h{letter}"] = {"kernel": d.recurrent_kernel[g]}
        tree[f"{'h' if cell == 'lstm' else 'i'}{letter}"]["bias"] = bias[g]
    if cell == "gru":
        tree["hn"]["bias"] = inside
    return tree


def _nnx(cell: CellKind, d: Direction) -> dict[str, dict[str, Array]]:
    """A GRU without the bias inside the reset, which nnx has not."""
    bias, _ = _biases(cell, d)
    kernels = {"dense_i": d.kernel, "dense_h": d.recurrent_kernel}
    tree = {name: {"kernel": np.concatenate([*kernel], axis=1)} for name, kernel in kernels.items()}
    tree["dense_h" if cell == "lstm" else "dense_i"]["bias"] = np.concatenate([*bias])
    return tree


def _equinox(cell: CellKind, d: Direction) -> Iterator[Array]:
    bias, inside = _biases(cell, d)
    yield from (np.concatenate([gate.T for gate in kernel]) for kernel in (d.kernel, d.recurrent_kernel))
    yield np.concatenate([*bias])
    if cell == "gru":
        yield inside


def opened(source: str | Path, label: str = "A") -> Opened:
    return open_side(parse(str(source), label))


def arrays_of(side: Opened) -> dict[str, Array]:
    """What the file holds, by its own names."""
    assert side.contents
    return {name: np.array(tensor.read()) for name, tensor in side.contents.tensors.items()}


class Spot:
    """What stands in for a Keras model: every variable of it remembers what it is assigned."""

    def __init__(self, path: str, assigned: dict[str, Array]) -> None:
        self._path, self._assigned = path, assigned

    def __getattr__(self, name: str) -> Spot:
        return Spot(f"{self._path}.{name}", self._assigned)

    def __getitem__(self, k: int) -> Spot:
        return Spot(f"{self._path}[{k}]", self._assigned)

    def get_layer(self, name: str) -> Spot:
        return Spot(f'{self._path}.get_layer("{name}")', self._assigned)

    def assign(self, value: Array) -> None:
        self._assigned[self._path] = value


class Backend:
    """What stands in for keras.backend."""

    @staticmethod
    def set_value(variable: Spot, value: Array) -> None:
        variable.assign(value)


class Keras:
    """What stands in for keras."""

    backend = Backend


class Variable:
    """What stands in for a variable of TensorFlow."""

    def __init__(self, held: dict[str, Array], name: str) -> None:
        self._held, self._name = held, name

    def load(self, value: Array, _: object) -> None:
        self._held[self._name] = value


class Torch:
    """What stands in for torch."""

    @staticmethod
    def from_numpy(array: Array) -> Array:
        return array


def after(code: Sequence[str], right: Opened, wrong: Opened, holder: str = "A") -> Network:
    """The network of the file of `wrong` after the lines have run, `holder[name]` being the arrays of `right`."""
    assert wrong.reading and wrong.contents
    held = arrays_of(wrong)
    shapes = {name: array.shape for name, array in held.items()}
    places, assigned = SETTERS["keras"].places, dict[str, Array]()
    numbered = {int(name.split()[1]): array for name, array in held.items() if name.startswith("leaf ")}
    names: dict[str, Any] = {holder: arrays_of(right), "np": np, "torch": Torch, "session": None, "leaves": numbered}
    names |= dict.fromkeys(("state_dict", "tensors", "flat"), held)
    names |= {
        "variables": {name: Variable(held, name) for name in held},
        "model": Spot("model", assigned),
        "keras": Keras,
    }
    exec("\n".join(code), names)
    held |= {f"leaf {k}": array for k, array in numbered.items()}
    if wrong.reading.recipe.framework == "keras":
        set_so = {place: name for name, place in places(wrong.reading).items()}
        for path, value in assigned.items():
            held[set_so.get(f"{path}.assign(") or set_so[f"keras.backend.set_value({path}, "]] = value
    assert {name: array.shape for name, array in held.items()} == shapes

    def reading(name: str) -> Callable[[], Array]:
        return lambda: held[name].astype(arrays_of(wrong)[name].dtype)

    tensors: dict[str, StoredTensor] = {
        name: replace(tensor, read=reading(name)) for name, tensor in wrong.contents.tensors.items()
    }
    metadata = dict(wrong.contents.metadata)
    if wrong.reading.recipe.framework == "onnx":
        graph: Any = metadata["graph"]
        metadata["graph"] = replace(graph, constants={**graph.constants, **tensors})
    contents = replace(wrong.contents, tensors=tensors, metadata=metadata)
    return read_network(contents, wrong.source.framework, wrong.source.selector).network
