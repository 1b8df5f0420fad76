"""Random GRUs and LSTMs of the soundness experiment, and the same weights as each framework takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from cases import WEIGHTS, sequences, spectral_radius, weights

from rnnverify.adapters.layouts import lay_out
from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.canonical import GATES, Array, CellKind, Direction, Gating, Layer, Network
from rnnverify.containers.contents import FrameworkName
from rnnverify.errors import UnsupportedError
from rnnverify.jobs import Order
from rnnverify.native import Runners
from rnnverify.probes import make_probes
from rnnverify.runner_process import Limits
from rnnverify.sides import open_side, parse
from rnnverify.trace import FROM_H0, ZERO, Batch


@dataclass(frozen=True)
class Variant:
    """A kind of cell with all that only some files have."""

    cell: CellKind
    gating: Gating = field(default_factory=Gating)
    projected: bool = False
    peepholes: bool = False


VARIANTS = {
    "GRU": Variant("gru"),
    "GRU, reset before": Variant("gru", Gating(reset_after=False)),
    "GRU, hard gates": Variant("gru", Gating(activation="hard_sigmoid")),
    "LSTM": Variant("lstm"),
    "LSTM, hard gates": Variant("lstm", Gating(activation="hard_sigmoid")),
    "LSTM, projected": Variant("lstm", projected=True),
    "LSTM, peepholes": Variant("lstm", peepholes=True),
    "LSTM, all there is": Variant("lstm", Gating(cell_clip=1.5), projected=True, peepholes=True),
}
COUNTS: dict[str, tuple[Mapping[int, int], tuple[int, ...]]] = {
    "small": ({1: 4, 8: 4, 64: 3, 512: 1}, (1, 30, 200)),
    "medium": ({1: 12, 3: 12, 16: 12, 64: 10, 256: 4, 512: 2}, (1, 10, 100, 1000)),
    "large": ({1: 60, 3: 60, 16: 60, 64: 40, 256: 20, 512: 10}, (1, 10, 100, 500, 2000)),
}
"""Hidden size to the number of networks of each variant, and how many steps they may run."""
RADII = (0.1, 0.9, 1.5, 5.0)


@dataclass(frozen=True)
class GatedCase:
    """One network and what it is run on."""

    variant: str
    hidden: int
    words: str
    network: Network
    batches: tuple[Batch, ...]


def gated_cases(size: str, seed: int = 0) -> Iterator[GatedCase]:
    rng = np.random.default_rng(seed)
    counts, steps = COUNTS[size]
    for variant, of in VARIANTS.items():
        for hidden, count in counts.items():
            for _ in range(0 if of.projected and hidden == 1 else count):  # there is nothing smaller to project to
                yield _case(rng, variant, hidden, steps)


def _case(rng: np.random.Generator, variant: str, H: int, choices: tuple[int, ...]) -> GatedCase:
    radius, T, I = float(rng.choice(RADII)), int(rng.choice(choices)), int(rng.choice([1, 5, 40]))
    kind = str(rng.choice(WEIGHTS[:3]))
    scale = float(rng.choice([0.0, 0.1, 10.0]))  # of the biases
    of = VARIANTS[variant]
    layers = [_layer(rng, of, kind, I, H, radius, scale)]
    if H <= 64 and rng.uniform() < 0.5:
        layers.append(_layer(rng, of, kind, layers[0].output_size, H, radius, scale))
    network = Network(tuple(layers))
    x = sequences(rng, T, I)
    h_sizes, c_sizes = network.state_sizes()
    h0 = tuple(rng.uniform(-1, 1, (len(x), n)).astype(np.float32) for n in h_sizes)
    c0 = tuple(rng.normal(0, 3, (len(x), n)).astype(np.float32) for n in c_sizes)
    probes = make_probes(network)
    assert probes is not None
    words = f"{variant}, hidden {H}, layers {len(layers)}, steps {T}, inputs {I}, radius {radius}, {kind} weights"
    return GatedCase(variant, H, words, network, (Batch(ZERO, x), Batch(FROM_H0, x, h0, c0 or None), probes))


def _layer(rng: np.random.Generator, of: Variant, kind: str, I: int, H: int, radius: float, scale: float) -> Layer:
    """Gates of the same distribution; the second bias is that of PyTorch, or what is added to the forget gate."""
    G = len(GATES[of.cell])
    P = max(1, H // 2) if of.projected else H
    kernel = np.stack([weights(rng, kind, (I, H)) * I**-0.5 for _ in range(G)])
    recurrent = np.stack([weights(rng, kind, (P, H)) for _ in range(G)])
    norm = spectral_radius(recurrent[0]) if P == H else float(np.linalg.norm(recurrent[0], 2))
    b_ih, b_hh = rng.uniform(-1, 1, (2, G, H)) * scale
    recurrent *= radius / max(norm, 1e-9)
    kernel, recurrent, b_ih, b_hh = (array.astype(np.float32) for array in (kernel, recurrent, b_ih, b_hh))
    direction = Direction(
        kernel,
        recurrent,
        b_ih,
        b_hh,
        peephole=rng.normal(0, 0.5, (3, H)).astype(np.float32) if of.peepholes else None,
        projection=rng.normal(0, H**-0.5, (H, P)).astype(np.float32) if of.projected else None,
    )
    return Layer((direction,), cell=of.cell, gating=of.gating)


FILES: dict[FrameworkName, tuple[str, str]] = {
    "torch": ("pt", ".pt"),
    "keras": ("keras", ".keras"),
    "tensorflow": ("ckpt", ".ckpt"),
    "onnx": ("onnx", ".onnx"),
}
"""What each framework is to write: its form, and how the name of the file ends."""


def written(cases: list[GatedCase], folder: Path) -> list[dict[str, tuple[Path, Reading]]]:
    """By framework, a file with the weights of each case as that framework itself wrote it, and what is read from it.

    A framework that has no such cell is left out. Flax has no file: its arrays stay in memory.
    """
    orders: list[tuple[int, FrameworkName, Order]] = []
    for k, case in enumerate(cases):
        for framework, (form, suffix) in FILES.items():
            path = folder / f"{framework}-{k}{suffix}"
            try:
                layout = lay_out(_as_held(case.network, framework), framework, path)
            except UnsupportedError:
                continue
            orders.append((k, framework, Order(path.name, layout, case.network.input_size, path, form)))
    with Runners(Limits(seconds=3600)) as runners:
        runners.write(*(order for _, _, order in orders))
    found: list[dict[str, tuple[Path, Reading]]] = [_flax(case) for case in cases]
    for k, framework, order in orders:
        part = f"#{order.layout.part}" if order.layout.part else ""
        reading = open_side(parse(f"{order.path}{part}", "A")).reading
        assert reading is not None
        found[k][framework] = order.path, reading
    return found


def _as_held(network: Network, framework: FrameworkName) -> Network:
    """TensorFlow 1 knows clips and forget biases; one bias is made of two where a framework has one."""
    return network if framework in ("torch", "onnx") else summed(network)


def summed(network: Network) -> Network:
    """The two biases added up in float32, but for the candidate of a GRU that resets its recurrent half."""

    def one(layer: Layer, d: Direction) -> Direction:
        total, rest = d.bias_input + d.bias_recurrent, np.zeros_like(d.bias_recurrent)
        if layer.cell == "gru" and layer.gating.reset_after:
            total[2], rest[2] = d.bias_input[2], d.bias_recurrent[2]
        return replace(d, bias_input=total, bias_recurrent=rest)

    layers = (replace(layer, directions=tuple(one(layer, d) for d in layer.directions)) for layer in network.layers)
    return replace(network, layers=tuple(layers))


def _flax(case: GatedCase) -> dict[str, tuple[Path, Reading]]:
    """linen's OptimizedLSTMCell and GRUCell, which hold no bias beside those that a gate needs."""
    if any(_beyond_flax(layer) for layer in case.network.layers):
        return {}
    network = _for_linen(summed(case.network))
    layers: list[dict[str, object]] = []
    tensors: dict[str, Array] = {}
    for k, layer in enumerate(network.layers):
        d = layer.directions[0]
        names: dict[str, str] = {}
        for g, letter in enumerate(GATES[layer.cell]):
            over_h = layer.cell == "lstm"  # where the bias stands
            parts = {f"i{letter}/kernel": d.kernel[g], f"h{letter}/kernel": d.recurrent_kernel[g]}
            parts[f"{'h' if over_h else 'i'}{letter}/bias"] = d.bias_recurrent[g] if over_h else d.bias_input[g]
            if layer.cell == "gru" and letter == "n":
                parts["hn/bias"] = d.bias_recurrent[g]
            names |= {key: f"{k}/{key}" for key in parts}
            tensors |= {f"{k}/{key}": array for key, array in parts.items()}
        sizes = {"input_size": layer.input_size, "hidden_size": layer.hidden_size}
        cell = "GRUCell" if layer.cell == "gru" else "OptimizedLSTMCell"
        way = {"reverse": False, "keep_order": True, "merge": "concat"}
        layers.append({"api": "linen", "cell": cell, **sizes, **way, "directions": [names]})
    recipe = Recipe("flax", tuple(layers), tensors, loadable=False, why_not="made in memory")
    return {"flax": (Path(), Reading(network, recipe, "", True, {}))}


def _beyond_flax(layer: Layer) -> bool:
    d, gating = layer.directions[0], layer.gating
    after = layer.cell == "lstm" or gating.reset_after
    return d.peephole is not None or d.projection is not None or bool(gating.cell_clip) or not after


def _for_linen(network: Network) -> Network:
    """An LSTM with its one bias over h."""

    def moved(layer: Layer) -> Layer:
        if layer.cell == "gru":
            return layer
        turned = (replace(d, bias_input=d.bias_recurrent, bias_recurrent=d.bias_input) for d in layer.directions)
        return replace(layer, directions=tuple(turned))

    return replace(network, layers=tuple(map(moved, network.layers)))
