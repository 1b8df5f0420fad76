"""Porting mistakes of gated cells made on purpose, as `plants` has those of every cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from plants import Plant, each, with_tensors

from rnnverify.canonical import Array, CellKind, Direction, Layer, Network

ALL = ("kernel", "recurrent_kernel", "bias_input", "bias_recurrent")
HARD = ("sigmoid", "hard_sigmoid", "keras2_hard_sigmoid")


def _of(cell: CellKind, change: Callable[[Direction], Direction]) -> Plant:
    def plant(n: Network, rng: np.random.Generator) -> Network | None:
        return each(n, change, rng) if n.layers[0].cell == cell else None

    return plant


def _blocks(order: Sequence[int], names: Sequence[str] = ALL) -> Callable[[Direction], Direction]:
    return lambda d: with_tensors(d, {name: getattr(d, name)[list(order)] for name in names})


ORDERS = ([0, 2, 1, 3], [0, 1, 3, 2], [0, 3, 1, 2], [0, 2, 3, 1], [2, 1, 3, 0], [3, 1, 0, 2])


def _orders(n: Network, rng: np.random.Generator) -> Network:
    if n.layers[0].cell == "gru":
        return each(n, _blocks([1, 0, 2]), rng)
    order = ORDERS[int(rng.integers(6))] if rng.uniform() < 0.7 else rng.permutation(4).tolist()
    return each(n, _blocks(order), rng)


def _some_orders(n: Network, rng: np.random.Generator) -> Network:
    order = [1, 0, 2] if n.layers[0].cell == "gru" else ORDERS[int(rng.integers(3))]
    names = (ALL[0::2], ALL[1:2], ALL[0:1], (ALL[0], *ALL[2:]), ALL[2:], ALL[:2])
    return each(n, _blocks(order, names[int(rng.integers(len(names)))]), rng)


def _interleaved(n: Network, rng: np.random.Generator) -> Network:
    """Rows 0, G, 2 G ... of a matrix (G * H, rows) hold gate 0, and were taken for its first H rows; or the reverse."""
    first = [0, 1, 2, 3] if rng.uniform() < 0.5 else [2, 0, 1, 3]  # that of Chainer
    unit_first = rng.uniform() < 0.5

    def move(w: Array) -> Array:
        G, H = len(w), w.shape[-1]
        w = w[first] if G == 4 and unit_first else w
        rows = w.swapaxes(1, 2) if w.ndim == 3 else w[..., None]  # (G, H, R)
        flat = np.empty((G * H, rows.shape[2]), w.dtype)
        for g in range(G):
            for j in range(H):
                flat[j * G + g if unit_first else g * H + j] = rows[g, j]
        taken = np.stack([flat[g * H : (g + 1) * H] if unit_first else flat[g::G] for g in range(G)])
        return np.asarray(taken.swapaxes(1, 2) if w.ndim == 3 else taken[..., 0])

    return each(n, lambda d: with_tensors(d, {name: move(getattr(d, name)) for name in ALL}), rng)


def _complemented(d: Direction) -> Direction:
    sign = np.array([1, -1, 1], np.float32)
    W, U, b, c = (w * sign.reshape(-1, *[1] * (w.ndim - 1)) for w in (getattr(d, name) for name in ALL))
    return replace(d, kernel=W, recurrent_kernel=U, bias_input=b, bias_recurrent=c)


def _candidate(change: Callable[[Array, Array], tuple[Array, Array]]) -> Plant:
    def one(d: Direction) -> Direction:
        b, c = d.bias_input.copy(), d.bias_recurrent.copy()
        b[2], c[2] = change(d.bias_input[2], d.bias_recurrent[2])
        return replace(d, bias_input=b, bias_recurrent=c)

    def plant(n: Network, rng: np.random.Generator) -> Network | None:
        after = n.layers[0].cell == "gru" and n.layers[0].gating.reset_after
        return each(n, one, rng) if after and any(np.any(d.bias_recurrent) for _, _, d in n.directions()) else None

    return plant


def _forget(more: float) -> Plant:
    def one(d: Direction) -> Direction:
        b = d.bias_input.copy()
        b[1] += np.float32(more)
        return replace(d, bias_input=b)

    return _of("lstm", one)


def _cut(n: Network, rng: np.random.Generator) -> Network | None:
    """Both biases in one array [Wb, Rb], and gate g taken from either; or two blocks after each other for each gate."""
    G = len(n.layers[0].directions[0].kernel)
    halves = rng.integers(0, 2, G)
    if not all(np.any(d.bias_recurrent) for _, _, d in n.directions()) or len(set(halves.tolist())) < 2:
        return None

    def one(d: Direction) -> Direction:
        both = np.concatenate([d.bias_input, d.bias_recurrent])
        chosen = np.stack([both[g + G * half] for g, half in enumerate(halves)])
        return replace(d, bias_input=chosen, bias_recurrent=0 * chosen)

    def pairs(d: Direction) -> Direction:
        both = np.concatenate([d.bias_input, d.bias_recurrent])
        return replace(d, bias_input=both[0::2], bias_recurrent=both[1::2])

    return each(n, one if rng.uniform() < 0.6 else pairs, rng)


def _layers(change: Callable[[Layer, np.random.Generator], Layer | None]) -> Plant:
    def plant(n: Network, rng: np.random.Generator) -> Network | None:
        chosen = range(len(n.layers)) if rng.uniform() < 0.6 else [int(rng.integers(len(n.layers)))]
        made = [change(layer, rng) if k in chosen else layer for k, layer in enumerate(n.layers)]
        return Network(tuple(layer for layer in made if layer)) if all(made) else None

    return plant


def _reset(layer: Layer, _: np.random.Generator) -> Layer | None:
    after = layer.gating.reset_after
    return replace(layer, gating=replace(layer.gating, reset_after=not after)) if layer.cell == "gru" else None


def _gate_activation(n: Network, rng: np.random.Generator) -> Network | None:
    name = str(rng.choice([each for each in HARD if each != n.layers[0].gating.activation]))
    return _layers(lambda y, _: replace(y, gating=replace(y.gating, activation=name)))(n, rng)


def _output(n: Network, rng: np.random.Generator) -> Network | None:
    name = str(rng.choice(["linear", "relu", "sigmoid"]))
    cell = n.layers[0].cell
    return _layers(lambda y, _: replace(y, gating=replace(y.gating, output=name)))(n, rng) if cell == "lstm" else None


def _clip(layer: Layer, _: np.random.Generator) -> Layer | None:
    return replace(layer, gating=replace(layer.gating, cell_clip=0.0)) if layer.gating.cell_clip else None


def _peepholes(order: Sequence[int]) -> Plant:
    def one(d: Direction) -> Direction:
        assert d.peephole is not None
        return replace(d, peephole=d.peephole[list(order)] if order else 0 * d.peephole)

    def plant(n: Network, rng: np.random.Generator) -> Network | None:
        return each(n, one, rng) if n.layers[0].directions[0].peephole is not None else None

    return plant


def _uncoupled(n: Network, rng: np.random.Generator) -> Network | None:
    """The forget gate by weights that the file holds and that do not count."""
    d = n.layers[0].directions[0]
    if n.layers[0].cell != "lstm" or not np.array_equal(d.kernel[0], -d.kernel[1]):
        return None

    def one(d: Direction) -> Direction:
        W, U, b, c = (getattr(d, name).copy() for name in ALL)
        for w in (W, U, b, c):
            w[1] = rng.normal(0, 0.3, w[1].shape)
        return replace(d, kernel=W, recurrent_kernel=U, bias_input=b, bias_recurrent=c)

    return each(n, one, rng)


def _whole(name: str) -> Plant:
    """A matrix (G * H, R) as PyTorch has it, or (R, G * H) as Keras has it, reshaped to the other."""

    def plant(n: Network, rng: np.random.Generator) -> Network | None:
        to_rows = rng.uniform() < 0.5

        def one(d: Direction) -> Direction:
            w = getattr(d, name)
            G, R, H = w.shape
            if to_rows:
                matrix = np.concatenate([block.T for block in w]).reshape(R, G * H)
                blocks = [matrix[:, g * H : (g + 1) * H] for g in range(G)]
            else:
                matrix = np.concatenate(list(w), axis=1).reshape(G * H, R)
                blocks = [matrix[g * H : (g + 1) * H].T for g in range(G)]
            return with_tensors(d, {name: np.stack(blocks)})

        return each(n, one, rng)

    return plant


GATED_PLANTS: Mapping[str, Plant] = {
    "the gates are in another order": _orders,
    "some tensors have their gates in another order": _some_orders,
    "the gates are interleaved unit by unit": _interleaved,
    "the update gate keeps what it should replace: z stands for 1 - z": _of("gru", _complemented),
    "the recurrent bias of the candidate is added to its input bias": _candidate(lambda b, c: (b + c, 0 * c)),
    "the input bias of the candidate is added to its recurrent bias": _candidate(lambda b, c: (0 * b, b + c)),
    "input and recurrent bias are swapped": _candidate(lambda b, c: (c, b)),
    "the forget bias is not added": _forget(-1),
    "the forget bias is added twice": _forget(1),
    "two biases are cut apart at the wrong places": _cut,
    "the reset gate acts on the other side of the recurrent product": _layers(_reset),
    "the gates have another activation": _gate_activation,
    "the cell state is emitted through another activation": _output,
    "the cell state is clipped on one side only": _layers(_clip),
    "the peepholes are not loaded": _peepholes([]),
    "the peepholes are in another order": _peepholes([0, 2, 1]),
    "input and forget gate are coupled on one side only": _uncoupled,
    "the input kernel is reshaped where it should be transposed ": _whole("kernel"),
    "the recurrent kernel is reshaped where it should be transposed": _whole("recurrent_kernel"),
}
"""By the name that should be found; the mistakes of files."""
