"""What reported mistakes do to networks with gates, and right networks of several shapes to do it to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from networks import gates

from rnnverify.canonical import Array, CellKind, Direction, Layer, Network
from rnnverify.diagnosis.hypothesis import with_tensors
from rnnverify.mistakes import each

Plant = Callable[[Network], Network]
ALL = ("kernel", "recurrent_kernel", "bias_input", "bias_recurrent")


def network(
    cell: CellKind, I: int, H: int, depth: int = 1, both: bool = False, seed: int = 0, one_bias: bool = False
) -> Network:
    """Of trained-looking weights; with `one_bias` the second is zero, but in the candidate of a GRU."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    for _ in range(depth):
        width = layers[-1].output_size if layers else I
        directions = [gates(rng, cell, width, H, reverse=bool(j)) for j in range(1 + both)]
        layers.append(Layer(tuple(map(_one_bias, directions)) if one_bias else tuple(directions), cell=cell))
    return Network(tuple(layers))


def _one_bias(d: Direction) -> Direction:
    kept = np.zeros_like(d.bias_recurrent)
    if len(kept) == 3:
        kept[2] = d.bias_recurrent[2]
    return replace(d, bias_recurrent=kept)


def blocks(order: Sequence[int], names: Sequence[str] = ALL) -> Plant:
    return lambda n: each(n, lambda d: with_tensors(d, {name: getattr(d, name)[list(order)] for name in names}))


def biases(change: Callable[[Array, Array], tuple[Array, Array]]) -> Plant:
    def one(d: Direction) -> Direction:
        b, c = change(d.bias_input, d.bias_recurrent)
        return replace(d, bias_input=b, bias_recurrent=c)

    return lambda n: each(n, one)


def candidate(change: Callable[[Array, Array], tuple[Array, Array]]) -> Plant:
    def both(b: Array, c: Array) -> tuple[Array, Array]:
        b, c = b.copy(), c.copy()
        b[2], c[2] = change(b[2].copy(), c[2].copy())
        return b, c

    return biases(both)


def gate_bias(gate: int, more: float) -> Plant:
    def change(b: Array, c: Array) -> tuple[Array, Array]:
        b = b.copy()
        b[gate] += np.float32(more)
        return b, c

    return biases(change)


def kernels(change: Callable[[Array], Array], *names: str) -> Plant:
    return lambda n: each(n, lambda d: with_tensors(d, {name: change(getattr(d, name)) for name in names}))


def by_gate(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda w: np.stack([change(block) for block in w])


def over_hx(d: Direction) -> Direction:
    rows, P = np.concatenate([d.kernel, d.recurrent_kernel], axis=1), d.state_size
    return replace(d, kernel=rows[:, P:], recurrent_kernel=rows[:, :P])


def as_cudnn(w: Array) -> Array:
    """What plain Keras reads of a (H, I) buffer of cuDNN that it takes for (I, H)."""
    return np.asarray(w.T.reshape(w.shape))


def both_ways(change: Callable[[Direction, Direction], tuple[Direction, Direction]]) -> Plant:
    return lambda n: Network(tuple(replace(layer, directions=change(*layer.directions)) for layer in n.layers))


def by_unit(order: Sequence[int], names: Sequence[str] = ALL) -> Plant:
    """The columns of unit 0 (gates in `order`), then of unit 1, cut into blocks of H."""

    def move(w: Array) -> Array:
        G, H = len(w), w.shape[-1]
        columns = [w[g][..., j] for j in range(H) for g in order]
        return np.stack([np.stack(columns[g * H : (g + 1) * H], axis=-1) for g in range(G)])

    return kernels(move, *names)


def of_layers(**changes: object) -> Plant:
    return lambda n: Network(tuple(replace(y, gating=replace(y.gating, **changes)) for y in n.layers))  # type: ignore[arg-type]  # of Gating


def turned(n: Network) -> Network:
    (d,) = n.layers[0].directions
    return Network((replace(n.layers[0], directions=(replace(d, reverse=True),)), *n.layers[1:]))


def mixed(b: Array, c: Array) -> tuple[Array, Array]:
    chosen = np.stack([b[0], c[1], *b[2:]])
    return chosen, 0 * chosen


def transposed(w: Array) -> Array:
    return np.asarray(w.T)


def int8(w: Array) -> Array:
    scale = np.abs(w).max() / 127
    return np.asarray(np.round(w / scale) * scale, np.float32)


def coupled(d: Direction) -> Direction:
    return with_tensors(d, {name: np.stack([w[0], -w[0], *w[2:]]) for name in ALL for w in [getattr(d, name)]})


def uncoupled(d: Direction) -> Direction:
    """The forget gate by weights that lay in the file and did not count."""
    other = drawn(d)
    return with_gate(d, other, 1)


def with_gate(d: Direction, other: Direction, gate: int) -> Direction:
    def mixed(a: Array, b: Array) -> Array:
        return np.stack([b[k] if k == gate else a[k] for k in range(len(a))])

    return with_tensors(d, {name: mixed(getattr(d, name), getattr(other, name)) for name in ALL})


def drawn(d: Direction) -> Direction:
    """As PyTorch initialises it."""
    rng = np.random.default_rng(d.reverse)
    bound = d.hidden_size**-0.5
    return d.mapped(lambda w: rng.uniform(-bound, bound, w.shape).astype(w.dtype))


def orthogonal(d: Direction) -> Direction:
    """As Keras initialises it."""
    rng = np.random.default_rng(d.reverse)
    G, P, H = d.recurrent_kernel.shape
    rows = np.linalg.qr(rng.normal(size=(G * H, P)))[0].T.astype(np.float32)
    bound = (6 / (d.input_size + G * H)) ** 0.5
    bias = np.zeros_like(d.bias_input)
    bias[1] = G == 4
    kernel = rng.uniform(-bound, bound, d.kernel.shape).astype(np.float32)
    return replace(
        d,
        kernel=kernel,
        recurrent_kernel=np.stack(np.split(rows, G, axis=1)),
        bias_input=bias,
        bias_recurrent=np.zeros_like(bias),
    )


def noise(size: float, add: bool = True) -> Plant:
    """Every weight moved by as much of the spread of its tensor; or, without `add`, replaced by that."""

    def plant(n: Network) -> Network:
        rng = np.random.default_rng(3)
        return n.mapped(lambda w: np.asarray(w * add + size * np.std(w) * rng.normal(size=w.shape), np.float32))

    return plant


def squares(n: Network) -> Network:
    rng = np.random.default_rng(4)
    return n.mapped(lambda w: np.asarray(1e-4 * np.any(w) * rng.normal(size=w.shape) ** 2, np.float32))


def dropped(w: Array) -> Array:
    kept = np.random.default_rng(5).uniform(size=w.shape) < 0.5
    return np.asarray(w * kept * 2, np.float32)


def norms(w: Array) -> Array:
    scale = np.random.default_rng(6).uniform(0.5, 2, (len(w), 1, w.shape[2]))
    return np.asarray(w * scale, np.float32)


def second_row_first(d: Direction) -> Direction:
    assert d.projection is not None
    return replace(d, projection=d.projection[[1, 0, *range(2, len(d.projection))]])


def without_peepholes(d: Direction) -> Direction:
    assert d.peephole is not None
    return replace(d, peephole=np.zeros_like(d.peephole))
