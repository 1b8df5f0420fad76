"""The smallest change of one weight of each gate that is caught, in sequences and with probes beside them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from detection import smallest
from engines32 import concatenated
from engines32 import run as run_engine
from gated import VARIANTS, Variant

from rnnverify.canonical import GATES, PEEPHOLES, Direction, Layer, Network
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.probes import make_probes
from rnnverify.rounding import explains
from rnnverify.trace import Batch

SHOWN = ("GRU", "GRU, reset before", "LSTM", "LSTM, projected", "LSTM, peepholes")


def gated_detection_table(sizes: tuple[int, ...], tries: int) -> str:
    """Medians over `tries` networks, each with one of its weights changed."""
    lines = ["Smallest relative change of one weight that is caught: in sequences alone / with probes", ""]
    for name in SHOWN:
        for H in sizes:
            found = [list(_try(VARIANTS[name], H, seed)) for seed in range(tries)]
            lines.append(f"{name}, {H} units")
            for k, (place, *_) in enumerate(found[0]):
                sequences, probed = (float(np.median([each[k][n] for each in found])) for n in (1, 2))
                lines.append(f"{place:>24}  {_words(sequences):>8}  {_words(probed):>8}")
    return "\n".join(lines)


def _words(change: float) -> str:
    return "always" if change == 0 else "never" if change == np.inf else f"{change:.1e}"


def _try(variant: Variant, H: int, seed: int) -> Iterator[tuple[str, float, float]]:
    rng = np.random.default_rng([H, seed])
    network = _network(rng, variant, H)
    direction = network.layers[0].directions[0]
    probes = make_probes(network)
    assert probes is not None
    batches = make_batches(InputOptions(), network)
    for place, field, index in _places(rng, network.layers[0].cell, direction):

        def seen(by: float, given: tuple[Batch, ...], field: str = field, index: tuple[int, ...] = index) -> bool:
            weights: dict[str, Any] = {field: getattr(direction, field).copy()}
            weights[field][index] *= np.float32(1 + by)
            other = replace(network.layers[0], directions=(replace(direction, **weights),))
            return any(not explains(network, run_engine(other, concatenated, each), "float32") for each in given)

        in_sequences = smallest(lambda by, seen=seen: seen(by, batches))  # type: ignore[misc]
        in_probes = smallest(lambda by, seen=seen: seen(by, (probes,)))  # type: ignore[misc]
        yield place, in_sequences, min(in_sequences, in_probes)


def _network(rng: np.random.Generator, variant: Variant, H: int) -> Network:
    I, G, P = 5, len(GATES[variant.cell]), H // 2 if variant.projected else H
    made = [rng.normal(0, scale, shape) for scale, shape in ((I**-0.5, (G, I, H)), (0.9 * P**-0.5, (G, P, H)))]
    kernel, recurrent, b_ih = (a.astype(np.float32) for a in (*made, rng.uniform(-0.1, 0.1, (G, H))))
    direction = Direction(
        kernel,
        recurrent,
        b_ih,
        np.zeros_like(b_ih),
        peephole=rng.normal(0, 0.5, (3, H)).astype(np.float32) if variant.peepholes else None,
        projection=rng.normal(0, H**-0.5, (H, P)).astype(np.float32) if variant.projected else None,
    )
    return Network((Layer((direction,), cell=variant.cell, gating=variant.gating),))


def _places(rng: np.random.Generator, cell: str, d: Direction) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """One weight of each gate in each tensor: in words, its tensor and where in it."""
    gates = GATES[cell]  # type: ignore[index]
    for field in ("kernel", "recurrent_kernel"):
        for g, letter in enumerate(gates):
            rows, columns = getattr(d, field).shape[1:]
            yield f"{field} {letter}", field, (g, int(rng.integers(rows)), int(rng.integers(columns)))
    for g, letter in enumerate(gates):
        yield f"bias {letter}", "bias_input", (g, int(rng.integers(d.hidden_size)))
    if d.peephole is not None:
        for g, letter in enumerate(PEEPHOLES):
            yield f"peephole {letter}", "peephole", (g, int(rng.integers(d.hidden_size)))
    if d.projection is not None:
        rows, columns = d.projection.shape
        yield "projection", "projection", (int(rng.integers(rows)), int(rng.integers(columns)))


if __name__ == "__main__":
    print(gated_detection_table(tuple(map(int, sys.argv[1].split(","))), int(sys.argv[2])))
