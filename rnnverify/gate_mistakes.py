"""Porting mistakes of gated cells: gates in another order, a bias on the wrong side, another formula.

Each is what `mistakes` says one is; of a network without such a cell it makes None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rnnverify.canonical import GATES, Array, CellKind, Direction, Layer, Network
from rnnverify.mistakes import Mistake


def reset_and_update_swapped(network: Network) -> Network | None:
    """reset and update gate are swapped"""
    return reordered(network, "gru", "zrn")


def reset_and_update_swapped_in_kernel(network: Network) -> Network | None:
    """reset and update gate are swapped in the input kernel, and not in the recurrent one"""
    return in_directions(
        network, "gru", lambda d: replace(d, kernel=d.kernel[[1, 0, 2]], bias_input=d.bias_input[[1, 0, 2]])
    )


def reset_and_update_swapped_in_recurrent_kernel(network: Network) -> Network | None:
    """reset and update gate are swapped in the recurrent kernel, and not in the input one"""
    order = [1, 0, 2]
    return in_directions(
        network,
        "gru",
        lambda d: replace(d, recurrent_kernel=d.recurrent_kernel[order], bias_recurrent=d.bias_recurrent[order]),
    )


def update_gate_complemented(network: Network) -> Network | None:
    """the update gate keeps what it should replace: z and 1 - z are swapped"""
    return in_directions(network, "gru", lambda d: d.mapped(lambda w: _scaled(w, 1, -1)))


def reset_on_the_other_side(network: Network) -> Network | None:
    """the reset gate acts on the other side of the recurrent product"""
    return in_layers(
        network,
        "gru",
        lambda layer: replace(layer, gating=replace(layer.gating, reset_after=not layer.gating.reset_after)),
    )


def candidate_biases_merged(network: Network) -> Network | None:
    """the two biases of the candidate are added up outside of the reset gate"""
    return _candidate_biases(network, lambda b_in, b_hn: (b_in + b_hn, np.zeros_like(b_hn)))


def candidate_biases_merged_inside(network: Network) -> Network | None:
    """the two biases of the candidate are added up inside of the reset gate"""
    return _candidate_biases(network, lambda b_in, b_hn: (np.zeros_like(b_in), b_in + b_hn))


def candidate_biases_swapped(network: Network) -> Network | None:
    """input and recurrent bias are swapped"""
    return _candidate_biases(network, lambda b_in, b_hn: (b_hn, b_in))


def forget_and_candidate_swapped(network: Network) -> Network | None:
    """gates stored as i, c, f, o are read as i, f, c, o"""
    return reordered(network, "lstm", "igfo")


def candidate_and_output_swapped(network: Network) -> Network | None:
    """gates stored as i, f, o, c are read as i, f, c, o"""
    return reordered(network, "lstm", "ifog")


def gates_as_onnx(network: Network) -> Network | None:
    """gates stored as i, o, f, c are read as i, f, c, o"""
    return reordered(network, "lstm", "iofg")


def gates_as_dl4j(network: Network) -> Network | None:
    """gates stored as c, f, o, i are read as i, f, c, o"""
    return reordered(network, "lstm", "gfoi")


def forget_bias_not_added(network: Network) -> Network | None:
    """the forget bias of 1 that is added at run time is missing"""
    return in_directions(network, "lstm", lambda d: with_forget_bias(d, -1))


def forget_bias_added_twice(network: Network) -> Network | None:
    """a forget bias of 1 is added to one that holds it"""
    return in_directions(network, "lstm", lambda d: with_forget_bias(d, 1))


def peepholes_ignored(network: Network) -> Network | None:
    """the peepholes are not loaded"""
    return in_directions(network, "lstm", lambda d: d if d.peephole is None else replace(d, peephole=d.peephole * 0))


def other_gate_activation(network: Network) -> Network | None:
    """sigmoid stands for hard_sigmoid at the gates, or the other way round"""
    return _gate_activation(network, lambda name: "sigmoid" if "hard" in name else "keras2_hard_sigmoid")


def hard_sigmoid_of_another_version(network: Network) -> Network | None:
    """the hard_sigmoid of Keras 3 stands for that of Keras 2, or the other way round"""
    other = {"hard_sigmoid": "keras2_hard_sigmoid", "keras2_hard_sigmoid": "hard_sigmoid"}
    return _gate_activation(network, lambda name: other.get(name, name))


GATE_MISTAKES: tuple[Mistake, ...] = (
    reset_and_update_swapped,
    reset_and_update_swapped_in_kernel,
    reset_and_update_swapped_in_recurrent_kernel,
    update_gate_complemented,
    reset_on_the_other_side,
    candidate_biases_merged,
    candidate_biases_merged_inside,
    candidate_biases_swapped,
    forget_and_candidate_swapped,
    candidate_and_output_swapped,
    gates_as_onnx,
    gates_as_dl4j,
    forget_bias_not_added,
    forget_bias_added_twice,
    peepholes_ignored,
    other_gate_activation,
    hard_sigmoid_of_another_version,
)


def in_layers(network: Network, cell: CellKind, change: Callable[[Layer], Layer]) -> Network | None:
    """`network` with every layer of one kind changed; None where it has none."""
    if not any(layer.cell == cell for layer in network.layers):
        return None
    layers = (change(layer) if layer.cell == cell else layer for layer in network.layers)
    return replace(network, layers=tuple(layers))


def in_directions(network: Network, cell: CellKind, change: Callable[[Direction], Direction]) -> Network | None:
    """`network` with every direction of one kind of cell changed; None likewise."""
    return in_layers(network, cell, lambda layer: replace(layer, directions=tuple(map(change, layer.directions))))


def reordered(network: Network, cell: CellKind, stored: str) -> Network | None:
    """The gates of a file that stores them as `stored`, taken for those of the canonical order."""
    order = [GATES[cell].index(gate) for gate in stored]

    def moved(d: Direction) -> Direction:
        W, U, b_ih, b_hh = (w[order] for w in (d.kernel, d.recurrent_kernel, d.bias_input, d.bias_recurrent))
        return replace(d, kernel=W, recurrent_kernel=U, bias_input=b_ih, bias_recurrent=b_hh)

    return in_directions(network, cell, moved)


def _scaled(weights: Array, gate: int, factor: float) -> Array:
    changed: Array = weights.copy()
    changed[gate] *= factor
    return changed


def _candidate_biases(network: Network, change: Callable[[Array, Array], tuple[Array, Array]]) -> Network | None:
    """The biases of the candidate changed, where each of them counts."""

    def changed(d: Direction) -> Direction:
        b_ih, b_hh = d.bias_input.copy(), d.bias_recurrent.copy()
        b_ih[2], b_hh[2] = change(d.bias_input[2], d.bias_recurrent[2])
        return replace(d, bias_input=b_ih, bias_recurrent=b_hh)

    def of(layer: Layer) -> Layer:
        after = layer.gating.reset_after
        return replace(layer, directions=tuple(map(changed, layer.directions))) if after else layer

    return in_layers(network, "gru", of)


def with_forget_bias(d: Direction, more: float) -> Direction:
    """`d` with `more` added to the bias of its forget gate, apart from what a file with one bias holds."""
    b_hh = d.bias_recurrent.copy()
    b_hh[GATES["lstm"].index("f")] += np.asarray(more, b_hh.dtype)
    return replace(d, bias_recurrent=b_hh)


def _gate_activation(network: Network, change: Callable[[str], str]) -> Network | None:
    def of(layer: Layer) -> Layer:
        return replace(layer, gating=replace(layer.gating, activation=change(layer.gating.activation)))

    if all(layer.cell == "rnn" for layer in network.layers):
        return None
    return replace(network, layers=tuple(layer if layer.cell == "rnn" else of(layer) for layer in network.layers))
