"""Another formula for the same weights: what a gated cell leaves open beside the activation of its candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np

from rnnverify.canonical import PEEPHOLES, CellKind, Direction, Gating, Layer, Network
from rnnverify.diagnosis.hypothesis import (
    Networks,
    Seen,
    everywhere_and_apart,
    everywhere_and_in_one_layer,
    with_words,
)
from rnnverify.gate_mistakes import in_directions, with_forget_bias

_GATED: tuple[CellKind, ...] = ("gru", "lstm")


def reset_on_the_other_side(network: Network, _: Seen) -> Networks:
    """the reset gate acts on the other side of the recurrent product

    One side computes r * (h U), the other (r * h) U: step 0 may agree, then a small error grows. No weights make up for
    it: set the option, or use a layer that computes as the network was trained.

    Keras: reset_after=True is PyTorch and cuDNN, reset_after=False Keras 1 and TensorFlow 1.
    PyTorch: it acts after the product, always; ONNX needs linear_before_reset=1 for it.
    TensorFlow: GRUCell acts before the product, CudnnCompatibleGRUCell after it.
    """
    # pytorch/pytorch#8153, keras-team/keras#3701, microsoft/onnxscript#2852, onnx/keras-onnx#33
    for after in (True, False):

        def change(layer: Layer, after: bool = after) -> Layer:
            gating = layer.gating
            return layer if gating.reset_after is after else replace(layer, gating=replace(gating, reset_after=after))

        words = "after the product, not before it" if after else "before the product, not after it"
        yield from with_words(words, everywhere_and_in_one_layer(network, ("gru",), change))


def gate_activation_is_another(network: Network, seen: Seen) -> Networks:
    """the gates have another activation

    sigmoid, hard_sigmoid of Keras 1 and 2, and that of Keras 3 are three functions, and weight files name none: an
    error of up to 0.1 everywhere. Set the one that the network was trained with.

    Keras: recurrent_activation=; hard_sigmoid was its default before 2.3, and is flatter since 3.
    PyTorch: nn.GRU and nn.LSTM have sigmoid only, so write a loop for another.
    TensorFlow: its cells have sigmoid only; recurrent_activation= of tf.keras layers.
    """
    # keras-team/keras changed the default in 2.3.0, and the slope of hard_sigmoid in 3.0.0
    yield from _with_gating(network, seen, _GATED, "activation", ("sigmoid", "hard_sigmoid", "keras2_hard_sigmoid"))


def output_activation_is_another(network: Network, seen: Seen) -> Networks:
    """the cell state is emitted through another activation

    h' = o * act(c'): it was left out, or is not that of the candidate. Set the one that the network was trained with.

    Keras: activation= is of the candidate and of the cell state.
    PyTorch: nn.LSTM has tanh for both, so write a loop for another.
    TensorFlow: activation= of the cell is of both.
    """
    yield from _with_gating(network, seen, ("lstm",), "output", ("tanh", "linear", "relu", "sigmoid"))


def forget_bias_after_activation(network: Network, seen: Seen) -> Networks:
    """the forget bias is added after the sigmoid

    A forget bias belongs to what the gate reads, f = sigmoid(v + 1), and here it is added to the gate itself: f =
    sigmoid(v) + 1 is never below 1, and the cell state grows at each step. Add it before.

    Keras: it is part of bias, so nothing is to be added.
    PyTorch: it is part of bias_ih_l0, so nothing is to be added.
    TensorFlow: sigmoid(f + forget_bias) * c, as BasicLSTMCell has it.
    """
    if seen.network is not None:
        return  # no file says so: it is the code of a side that is known by what it did
    for lower in (1.0, 0.0):  # the bias that is known holds it already, or does not

        def change(layer: Layer, lower: float = lower) -> Layer:
            directions = tuple(with_forget_bias(d, -lower) for d in layer.directions) if lower else layer.directions
            return replace(layer, directions=directions, gating=replace(layer.gating, forget_added=1.0))

        words = "for that in the bias" if lower else "beside that in the bias"
        yield from with_words(words, everywhere_and_in_one_layer(network, ("lstm",), change))


def cell_clip_ignored(network: Network, seen: Seen) -> Networks:
    """the cell state is clipped on one side only

    c' is kept within bounds at each step where one side runs, and grows freely on the other: right until it first
    reaches them. Carry the bound over.

    Keras: LSTM has none, so clip in a cell of your own.
    PyTorch: nn.LSTM has none, so clip c in a loop.
    TensorFlow: cell_clip= of LSTMCell.
    """
    values: tuple[float, ...] = (0.0,)
    if seen.network is not None:
        values = tuple(dict.fromkeys(layer.gating.cell_clip for layer in seen.network.layers if layer.cell == "lstm"))
    for value in values:
        made = everywhere_and_in_one_layer(network, ("lstm",), lambda layer, v=value: _gated(layer, cell_clip=v))  # type: ignore[misc]  # mypy infers no type for a lambda with a default
        yield from with_words(f"at {value:g}" if value else "not at all", made)


def peepholes_not_loaded(network: Network, _: Seen) -> Networks:
    """the peepholes are not loaded

    Gates that look at the cell state need three more vectors, and they are zero or absent: step 0 is nearly right, and
    no later one. Carry them over.

    Keras: LSTM has none, so write a cell of your own.
    PyTorch: nn.LSTM has none, so write a loop.
    TensorFlow: use_peepholes=True, variables w_i_diag, w_f_diag and w_o_diag.
    """
    yield from everywhere_and_apart(network, lambda n: in_directions(n, "lstm", _without_peepholes))


def peepholes_in_another_order(network: Network, _: Seen) -> Networks:
    """the peepholes are in another order

    Three vectors of one size, for three gates: ONNX stacks them as i, o, f. Match them by name.

    Keras: LSTM has none, so it is a cell of your own that takes them.
    PyTorch: nn.LSTM has none, so it is a loop that takes them.
    TensorFlow: w_i_diag, w_f_diag and w_o_diag.
    """
    for order in permutations(PEEPHOLES):
        if "".join(order) != PEEPHOLES:
            rows = [PEEPHOLES.index(gate) for gate in order]
            made = everywhere_and_apart(network, lambda n, r=rows: in_directions(n, "lstm", lambda d: _peeping(d, r)))  # type: ignore[misc]
            yield from with_words(f"{', '.join(order)} for {', '.join(PEEPHOLES)}", made)


def _without_peepholes(d: Direction) -> Direction:
    return d if d.peephole is None else replace(d, peephole=np.zeros_like(d.peephole))


def _peeping(d: Direction, rows: Sequence[int]) -> Direction:
    return d if d.peephole is None else replace(d, peephole=d.peephole[list(rows)])


def _gated(layer: Layer, **changes: object) -> Layer:
    changed = replace(layer, gating=replace(layer.gating, **changes))  # type: ignore[arg-type]  # of Gating
    return layer if changed.formula == layer.formula else changed


def _with_gating(network: Network, seen: Seen, cells: Sequence[CellKind], what: str, names: Sequence[str]) -> Networks:
    """Each of `names` in all layers, then in one; of those that the other side has, where that is known."""
    if seen.network is not None:
        pairs = list(zip(network.layers, seen.network.layers, strict=True))
        changed = [
            _gated(ours, **{what: _value(theirs, what)}) if ours.cell in cells else ours for ours, theirs in pairs
        ]
        differing = [k for k, (ours, _) in enumerate(pairs) if changed[k] is not ours]
        if differing:
            instead = ", ".join(
                dict.fromkeys(f"{_value(changed[k], what)} for {_value(pairs[k][0], what)}" for k in differing)
            )
            places = "" if len(differing) == len(pairs) else ", ".join(f"layer {k}" for k in differing)
            yield (f"{places}: {instead}" if places else instead), replace(network, layers=tuple(changed))
        return
    for name in names:
        change: Callable[[Layer], Layer] = lambda layer, n=name: _gated(layer, **{what: n})  # type: ignore[misc]  # noqa: E731
        before = "/".join(dict.fromkeys(_value(y, what) for y in network.layers if y.cell in cells))
        yield from with_words(f"{name} for {before}", everywhere_and_in_one_layer(network, cells, change))


def _value(layer: Layer, what: str) -> str:
    gating: Gating = layer.gating
    return gating.activation if what == "activation" else gating.output or layer.activation
