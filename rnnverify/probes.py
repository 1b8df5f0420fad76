"""One-step calls that hold hardly any rounding, and so confine every weight of a side that is known by behaviour only.

A row is zero but for one input feature, x = s e_i, or one unit of the initial state, h0 = s e_k. A product with a power
of two is exact, so that the pre-activation meets the rounding of the biases alone, however large the network, and the
budget of that one step is narrow. Scales span the range of the weights, with both signs: small weights show under large
ones, and a unit that a bias saturates is brought back. Of layers above the first the recurrent weights are probed.

Gates only show where they have something to let through: rows of x of a gated network start with one unit of h at 1,
another for each feature, and every cell state is 1 throughout. Where a reset gate acts before the product, each unit of
it shows in its own unit of h alone: there all of them start at 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnnverify.canonical import Array, Layer, Network
from rnnverify.trace import PROBE, Batch

_SCALES = 4  # a factor of 8 apart
_ELEMENTS = 2**23  # at most, of x and h0 together; larger networks get fewer scales


def make_probes(network: Network) -> Batch | None:
    """All probes as one batch of single steps, float32; None where even one scale would be too large."""
    I = network.input_size
    sizes, cell_sizes = network.state_sizes()
    for count in range(_SCALES, 0, -1):
        scales = list(_scales(network, count))
        rows = 1 + len(scales) * (I + max(sizes))
        if rows * (I + sum(sizes) + sum(cell_sizes)) <= _ELEMENTS:
            x = np.zeros((rows, 1, I), np.float32)
            h0 = tuple(np.zeros((rows, size), np.float32) for size in sizes)
            _fill(x[:, 0], 1, scales)
            for states, (_, layer, _) in zip(h0, network.directions(), strict=True):
                _fill(states, 1 + len(scales) * I, scales)
                _open(states[1 : 1 + len(scales) * I], layer)
            c0 = tuple(np.ones((rows, size), np.float32) for size in cell_sizes)
            return Batch(PROBE, x, h0, c0 or None)
    return None


def _open(rows: Array, layer: Layer) -> None:
    """Give the gates of `layer` something to let through, in the rows (n, P) of initial states that probe x."""
    if layer.cell == "gru" and not layer.gating.reset_after:
        rows[:] = 1
    elif layer.cell != "rnn":
        index = np.arange(len(rows))
        rows[index, index % rows.shape[1]] = 1


def _scales(network: Network, count: int) -> Iterator[float]:
    """±2^k, beginning where the largest weight gives a pre-activation of about 1."""
    largest = max(float(np.abs(array).max()) for name, array in network.tensors() if name.endswith("kernel"))
    first = 0 if not largest > 0 else int(np.clip(-np.round(np.log2(largest)), -10, 10))
    for step in range(count):
        yield 2.0 ** (first + 3 * step)
        yield -(2.0 ** (first + 3 * step))


def _fill(rows: Array, start: int, scales: list[float]) -> None:
    """s e_i in successive rows from `start`, for every scale s and axis i."""
    width = rows.shape[1]
    for k, scale in enumerate(scales):
        index = np.arange(width)
        rows[start + k * width + index, index] = scale
