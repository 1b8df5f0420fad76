"""Input and forget gate of an LSTM, which are one gate on one side and two on the other."""

from __future__ import annotations

import numpy as np

from rnnverify.canonical import GATES, Array, Direction, Network
from rnnverify.diagnosis.gates import known_orders
from rnnverify.diagnosis.hypothesis import (
    Networks,
    Seen,
    everywhere_and_apart,
    named,
    placed,
    side_by_side,
    with_tensors,
    with_words,
)
from rnnverify.gate_mistakes import in_directions

_WEIGHTS = ("kernel", "recurrent_kernel", "bias_input", "bias_recurrent")
_INPUT, _FORGET = (GATES["lstm"].index(gate) for gate in "if")
_PAIRS = (("f = 1 - i", _FORGET, _INPUT), ("i = 1 - f", _INPUT, _FORGET))
"""Which gate has no weights of its own, and of which gate it is 1 minus."""


def coupling_ignored(network: Network, seen: Seen) -> Networks:
    """input and forget gate are coupled on one side only

    With f = 1 - i one of the two gates has no weights that count, and the other side uses weights of its own for it:
    wrong from step 0 on. Negate the block of the free gate, and write it into that of the other.

    Keras: LSTM has four gates, bias, kernel and recurrent_kernel of f are those of i times -1.
    PyTorch: nn.LSTM has four gates, the block of f is that of i times -1.
    TensorFlow: CoupledInputForgetGateLSTMCell keeps f, and i = 1 - f.
    """
    # ONNX: input_forget=1, where i is free; TFLite and TensorFlow: f is
    if seen.network is not None:
        yield from _uncoupled(network, seen.network)


def gates_coupled(network: Network, _: Seen) -> Networks:
    """As `coupling_ignored`; apart, because after it any gate could be taken for one that was uncoupled."""
    for words, bound, free in _PAIRS:
        made = everywhere_and_apart(
            network,
            lambda n, b=bound, f=free: in_directions(n, "lstm", lambda d: _coupled(d, b, f)),  # type: ignore[misc]  # mypy infers no type for a lambda with a default
        )
        yield from with_words(words, made)


gates_coupled.__doc__ = coupling_ignored.__doc__


def _coupled(d: Direction, bound: int, free: int) -> Direction:
    """`d` with the gate `bound` opposite to `free`; as it is where it is so already."""
    if _is_coupled(d):
        return d

    def opposite(w: Array) -> Array:
        changed: Array = w.copy()
        changed[bound] = -w[free]
        return changed

    return with_tensors(d, {name: opposite(getattr(d, name)) for name in _WEIGHTS})


def _uncoupled(network: Network, other: Network) -> Networks:
    """Where gates are coupled, with the weights that `other` has for one of them, in whatever order it has them."""
    for order in (GATES["lstm"], *known_orders("lstm")):
        found, said = network, []
        for place, ours, theirs in side_by_side(network, other):
            if network.layers[place[0]].cell != "lstm" or not _is_coupled(ours) or _is_coupled(theirs):
                continue
            back = [order.index(gate) for gate in GATES["lstm"]]
            read = with_tensors(theirs, {name: getattr(theirs, name)[back] for name in _WEIGHTS})
            for gate, bound, free in (("i", _INPUT, _FORGET), ("f", _FORGET, _INPUT)):
                if np.array_equal(ours.kernel[free], read.kernel[free]):
                    found = placed(found, place, _with_gate(ours, read, bound))
                    said.append(f"{named(network, place)}, {gate}")
        if said:
            yield "; ".join(said), found


def _is_coupled(d: Direction) -> bool:
    """Whether the two gates are opposite, biases up to the rounding of a forget bias that is added at run time."""
    kernels = all(np.array_equal(w[_INPUT], -w[_FORGET]) for w in (d.kernel, d.recurrent_kernel))
    reach = 2.0**-22 * (1 + np.abs(d.bias[_INPUT]))
    return bool(np.any(d.kernel[_INPUT]) and kernels and np.all(np.abs(d.bias[_INPUT] + d.bias[_FORGET]) <= reach))


def _with_gate(d: Direction, other: Direction, gate: int) -> Direction:
    def mixed(a: Array, b: Array) -> Array:
        changed: Array = a.copy()
        changed[gate] = b[gate]
        return changed

    return with_tensors(d, {name: mixed(getattr(d, name), getattr(other, name)) for name in _WEIGHTS})
