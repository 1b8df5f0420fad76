"""Gates in another order than the one in which they are read: all of them, in one tensor only, or unit by unit.

An order is written as the letters of `canonical.GATES`: block k of what is read holds the gate of letter k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations

import numpy as np

from rnnverify import gate_mistakes
from rnnverify.canonical import GATE_NAMES, GATES, Array, CellKind, Direction, Network
from rnnverify.diagnosis.hypothesis import (
    Networks,
    Seen,
    everywhere_and_apart,
    named,
    placed,
    side_by_side,
    with_tensor,
    with_tensors,
    with_words,
)

STORED: Mapping[CellKind, Mapping[str, str]] = {
    "gru": {"zrn": "Keras, ONNX"},
    "lstm": {
        "igfo": "TensorFlow 1, Keras 1",
        "iofg": "ONNX",
        "ifog": "CoreML, DyNet",
        "gfoi": "DL4J",
        "figo": "papers",
    },
}
"""Orders in which frameworks store the gates, other than the canonical one of PyTorch and of LSTMs in Keras 2 and 3."""


def gates_in_another_order(network: Network, _: Seen) -> Networks:
    """the gates are in another order

    Frameworks stack the gates in orders of their own, and the blocks were copied as they stood: wrong from step 0 on.
    Reorder the blocks of both kernels and of the bias.

    Keras: LSTM holds i, f, c, o and GRU z, r, h.
    PyTorch: LSTM holds i, f, g, o and GRU r, z, n.
    TensorFlow: LSTM cells of version 1 hold i, j, f, o and GRUCell r, u.
    """
    # tensorflow/tensorflow#29308, keras-team/keras#10179, #3088 and #15915, apple/coremltools#93, clab/dynet#1646
    for cell in GATES:
        for order in known_orders(cell):
            yield from _reordered(network, cell, order, _ALL, "")


def gates_in_a_rare_order(network: Network, seen: Seen) -> Networks:
    """As `gates_in_another_order`; apart, because so many would make pairs of mistakes slow to try."""
    for cell in GATES:
        for order in _rare_orders(cell):
            if any(_fits(network, seen, cell, order, name) for name in _ALL):
                yield from _reordered(network, cell, order, _ALL, "")


gates_in_a_rare_order.__doc__ = gates_in_another_order.__doc__


def gates_of_one_tensor(network: Network, seen: Seen) -> Networks:
    """some tensors have their gates in another order

    The blocks of one tensor were reordered and those of another were not, or a bias was forgotten. Reorder all of them
    alike: both kernels, and every bias.

    Keras: kernel, recurrent_kernel and bias.
    PyTorch: weight_ih_l0, weight_hh_l0, bias_ih_l0 and bias_hh_l0.
    TensorFlow: the rows of x and of h in one kernel, and bias.
    """
    # keras-team/keras#8720: the input kernel reordered, the recurrent kernel not
    for tensors, words in _SOME:
        for cell in GATES:
            for order in known_orders(cell):
                if _fits(network, seen, cell, order, tensors[0]):
                    yield from _reordered(network, cell, order, tensors, words)


def gates_interleaved(network: Network, _: Seen) -> Networks:
    """the gates are interleaved unit by unit

    One side stores all gates of unit 0, then all of unit 1, the other gate after gate: all numbers are there, and
    everything looks random. Split by unit first, or by gate.

    Keras: kernel is (I, gates * H), gate after gate: K.reshape(I, H, gates).swapaxes(1, 2).
    PyTorch: weight_ih is (gates * H, I), gate after gate: W.reshape(H, gates, I).swapaxes(0, 1).
    TensorFlow: kernel is (I + H, gates * H), gate after gate.
    """
    # chainer/chainer#2425: its LSTM holds a, i, f, o of one unit after the other
    yield from _interleavings(network, _ALL, "")


def biases_interleaved(network: Network, _: Seen) -> Networks:
    """As `gates_interleaved`, of biases alone; apart, because so many would make pairs of mistakes slow to try."""
    yield from _interleavings(network, _BIASES, "bias, ")


biases_interleaved.__doc__ = gates_interleaved.__doc__


def update_gate_complemented(network: Network, _: Seen) -> Networks:
    """the update gate keeps what it should replace: z stands for 1 - z

    Papers and some frameworks write h' = (1 - z) h + z n, the others h' = z h + (1 - z) n. Negate the block of z in
    both kernels and in the bias, which is exact: 1 - sigmoid(v) = sigmoid(-v).

    Keras: it is the first block, h' = z h + (1 - z) n.
    PyTorch: it is the second block, h' = z h + (1 - z) n.
    TensorFlow: it is u, the second half of the gates, h' = u h + (1 - u) c.
    """
    # stackoverflow: gru-pytorch-keras-and-formula-in-wiki-are-different
    yield from everywhere_and_apart(network, gate_mistakes.update_gate_complemented)


def one_gate_transposed(network: Network, _: Seen) -> Networks:
    """the recurrent kernel of one gate is transposed

    Kernels that are stored gate by gate, or in two tensors, as TensorFlow does with a GRU, were turned one by one, and
    one of them twice or not at all: step 0 is exact. Turn all of them alike.

    Keras: recurrent_kernel holds (H, H) of each gate side by side, for h @ U.
    PyTorch: weight_hh_l0 holds (H, H) of each gate below each other, for U @ h.
    TensorFlow: the rows of h in gates/kernel and in candidate/kernel are both for h @ U.
    """
    # a kernel of the candidate that stands apart was turned, the one of the gates was not
    for place, direction, _other in side_by_side(network, network):
        layer = network.layers[place[0]]
        if layer.cell == "rnn" or direction.projection is not None:
            continue
        for g, gate in enumerate(GATE_NAMES[layer.cell]):
            turned = direction.recurrent_kernel.copy()
            turned[g] = turned[g].T
            words = f"{named(network, place)}, {gate}"
            yield words, placed(network, place, with_tensor(direction, "recurrent_kernel", turned))


def known_orders(cell: CellKind) -> Iterator[str]:
    """The orders of other frameworks, and what comes of the canonical one where it is taken for one of them."""
    yield from dict.fromkeys(text for order in STORED.get(cell, {}) for text in (order, _inverse(cell, order)))


def _rare_orders(cell: CellKind) -> Iterator[str]:
    known = {GATES[cell], *known_orders(cell)}
    yield from (order for each in permutations(GATES[cell]) if (order := "".join(each)) not in known)


def _inverse(cell: CellKind, order: str) -> str:
    return "".join(GATES[cell][order.index(gate)] for gate in GATES[cell])


_SOME: tuple[tuple[tuple[str, ...], str], ...] = (
    (("kernel", "bias_input"), "input kernel and its bias"),
    (("kernel", "bias_input", "bias_recurrent"), "input kernel and bias"),
    (("recurrent_kernel",), "recurrent kernel"),
    (("kernel",), "input kernel"),
    (("bias_input", "bias_recurrent"), "bias"),
    (("recurrent_kernel", "bias_recurrent"), "recurrent kernel and its bias"),
    (("recurrent_kernel", "bias_input", "bias_recurrent"), "recurrent kernel and bias"),
    (("kernel", "recurrent_kernel"), "both kernels, not the bias"),
)
_BIASES = ("bias_input", "bias_recurrent")
_ALL = ("kernel", "recurrent_kernel", *_BIASES)


_BY_UNIT: Mapping[CellKind, tuple[str, ...]] = {"gru": ("rzn", "zrn"), "lstm": ("ifgo", "gifo")}
"""The orders in which gates may follow each other within a unit; the last is that of Chainer."""


def _fits(network: Network, seen: Seen, cell: CellKind, order: str, name: str) -> bool:
    """Whether gates in that order make a tensor of the other side, as far as its weights are known."""
    if seen.network is None:
        return True
    places, few = [GATES[cell].index(gate) for gate in order], (..., slice(0, 8))
    return any(
        network.layers[k].cell == cell and np.array_equal(getattr(a, name)[places][few], getattr(b, name)[few])
        for (k, _), a, b in side_by_side(network, seen.network)
    )


def _reordered(network: Network, cell: CellKind, order: str, tensors: tuple[str, ...], words: str) -> Networks:
    places = [GATES[cell].index(gate) for gate in order]

    def moved(d: Direction) -> Direction:
        if not all(np.any(d.bias_recurrent) for name in tensors if name == "bias_recurrent" and len(tensors) == 2):
            return d  # the same as without
        return with_tensors(d, {name: getattr(d, name)[places] for name in tensors})

    said = f"{', '.join(order)} for {', '.join(GATES[cell])}{_whose(cell, order)}"
    made = everywhere_and_apart(network, lambda n: gate_mistakes.in_directions(n, cell, moved))
    yield from with_words(f"{words}, {said}" if words else said, made)


def _whose(cell: CellKind, order: str) -> str:
    known = STORED.get(cell, {})
    name = known.get(order) or known.get(_inverse(cell, order))
    return f" ({name})" if name else ""


def _interleavings(network: Network, tensors: Sequence[str], which: str) -> Networks:
    for cell, orders in _BY_UNIT.items():
        for order in orders:
            for change in (_by_unit, _by_gate):
                changed = _interleaved(network, cell, order, change, tensors)
                if changed is not None:
                    words = f"{which}in the order {', '.join(order)}"
                    yield from with_words(words, everywhere_and_apart(network, lambda _, made=changed: made))  # type: ignore[misc]  # mypy infers no type for a lambda with a default


def _interleaved(
    network: Network, cell: CellKind, order: str, change: Callable[[Array], Array], tensors: Sequence[str]
) -> Network | None:
    """`network` in a file whose `tensors` hold the gates in `order`, those of one unit together, read gate after gate.

    Or the other way round, as `change` has it.
    """
    places = [GATES[cell].index(gate) for gate in order]
    back = [order.index(gate) for gate in GATES[cell]]
    before, after = (places, slice(None)) if change is _by_unit else (slice(None), back)

    def moved(w: Array) -> Array:
        return np.asarray(change(w[before])[after])

    def of(d: Direction) -> Direction:
        return with_tensors(d, {name: moved(getattr(d, name)) for name in tensors})

    return gate_mistakes.in_directions(network, cell, of)


def _by_unit(w: Array) -> Array:
    """Columns of w (G, ..., H) laid out unit after unit, taken as gate after gate."""
    return _columns(np.moveaxis(w, 0, -1), w.shape)


def _by_gate(w: Array) -> Array:
    """Columns laid out gate after gate, taken as unit after unit."""
    G, H = w.shape[0], w.shape[-1]
    flat = np.moveaxis(w, 0, -2).reshape(*w.shape[1:-1], G * H)
    return np.moveaxis(flat.reshape(*w.shape[1:-1], H, G), -1, 0)


def _columns(by_unit: Array, shape: tuple[int, ...]) -> Array:
    """(..., H, G) flattened, and cut into G blocks of H: (G, ..., H)."""
    flat = by_unit.reshape(*shape[1:-1], shape[0] * shape[-1])
    return np.moveaxis(flat.reshape(*shape[1:-1], shape[0], shape[-1]), -2, 0)
