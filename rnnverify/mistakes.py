"""Porting mistakes that people made, each defined once: a function from the right network to the wrong one.

Its docstring is what the report says. It returns None where the mistake cannot be made with these shapes. A mistake
that changes nothing for a network (a symmetric matrix transposed) is not one; `planted` leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from rnnverify.canonical import Array, Direction, Layer, Network

Mistake = Callable[[Network], Network | None]
BothWays = Callable[[Direction, Direction], tuple[Direction, Direction]]


def planted(network: Network, mistakes: Sequence[Mistake] | None = None) -> Iterator[tuple[str, Network]]:
    """Every one of `mistakes`, else of `MISTAKES`, that applies to `network`: in words, and the network it makes."""
    for mistake in MISTAKES if mistakes is None else mistakes:
        wrong = mistake(network)
        if wrong is not None and not same(network, wrong):
            yield (mistake.__doc__ or "").strip(), wrong


def recurrent_transposed(network: Network) -> Network | None:
    """the recurrent kernel is transposed"""
    return each(
        network,
        lambda d: replace(d, recurrent_kernel=d.recurrent_kernel.swapaxes(1, 2)) if d.projection is None else d,
    )


def kernel_transposed(network: Network) -> Network | None:
    """a square input kernel is transposed"""
    return each(network, lambda d: replace(d, kernel=d.kernel.swapaxes(1, 2)) if _is_square(d) else d)


def kernel_reshaped(network: Network) -> Network | None:
    """the input kernel is reshaped where it should be transposed"""
    return each(network, lambda d: replace(d, kernel=d.kernel.swapaxes(1, 2).reshape(d.kernel.shape)))


def kernels_swapped(network: Network) -> Network | None:
    """input and recurrent kernel are swapped"""
    swap = each(
        network,
        lambda d: replace(d, kernel=d.recurrent_kernel, recurrent_kernel=d.kernel) if _is_square(d) else d,
    )
    return swap if any(_is_square(d) for _, _, d in network.directions()) else None


def concatenated_the_other_way(network: Network) -> Network | None:
    """a kernel over [x, h] is read as one over [h, x]"""

    def change(d: Direction) -> Direction:
        rows = np.concatenate([d.kernel, d.recurrent_kernel], axis=1)
        P = d.state_size
        return replace(d, kernel=rows[:, P:], recurrent_kernel=rows[:, :P])

    return each(network, change)


def recurrence_lost(network: Network) -> Network | None:
    """the recurrent kernel is not loaded"""
    return each(network, lambda d: replace(d, recurrent_kernel=np.zeros_like(d.recurrent_kernel)))


def bias_dropped(network: Network) -> Network | None:
    """the bias is not loaded"""
    return _scaled_bias(network, 0, 0)


def recurrent_bias_dropped(network: Network) -> Network | None:
    """the second of two biases is dropped"""
    return _scaled_bias(network, 1, 0)


def bias_doubled(network: Network) -> Network | None:
    """one bias is copied into both"""
    return _scaled_bias(network, 2, 2)


def bias_halved(network: Network) -> Network | None:
    """the bias is halved"""
    return _scaled_bias(network, 0.5, 0.5)


def other_activation(network: Network) -> Network | None:
    """relu stands for tanh, or tanh for another activation"""
    others = tuple("relu" if layer.activation == "tanh" else "tanh" for layer in network.layers)
    return network.with_activations(others)


def activation_missing(network: Network) -> Network | None:
    """the activation is missing"""
    return network.with_activations(("linear",) * len(network.layers))


def layers_swapped(network: Network) -> Network | None:
    """two layers are swapped"""
    layers = list(network.layers)
    for k in range(1, len(layers)):
        if layers[k].input_size == layers[k - 1].input_size and layers[k].output_size == layers[k - 1].output_size:
            layers[k - 1], layers[k] = layers[k], layers[k - 1]
            return Network(tuple(layers))
    return None


def directions_swapped(network: Network) -> Network | None:
    """forward and backward weights are swapped"""
    return _both_ways(network, lambda f, b: (replace(b, reverse=f.reverse), replace(f, reverse=b.reverse)))


def directions_tied(network: Network) -> Network | None:
    """the forward weights are used in both directions"""
    return _both_ways(network, lambda f, b: (f, replace(f, reverse=b.reverse)))


def time_reversed(network: Network) -> Network | None:
    """a sequence is read from its end"""
    layers = tuple(
        layer
        if layer.bidirectional
        else replace(
            layer,
            directions=(replace(layer.directions[0], reverse=not layer.directions[0].reverse),),
            time_restored=False,
        )
        for layer in network.layers
    )
    return replace(network, layers=layers)


def units_permuted(network: Network) -> Network | None:
    """the hidden units are in another order"""
    layers = list(network.layers)
    layers[-1] = replace(layers[-1], directions=tuple(_rolled(d) for d in layers[-1].directions))
    return replace(network, layers=tuple(layers))


def float16_rounded(network: Network) -> Network | None:
    """the weights are rounded to float16"""

    def narrow(w: Array) -> Array:
        with np.errstate(over="ignore"):
            return w.astype(np.float16).astype(w.dtype)

    return each(network, lambda d: d.mapped(narrow))


MISTAKES: tuple[Mistake, ...] = (
    recurrent_transposed,
    kernel_transposed,
    kernel_reshaped,
    kernels_swapped,
    concatenated_the_other_way,
    recurrence_lost,
    bias_dropped,
    recurrent_bias_dropped,
    bias_doubled,
    bias_halved,
    other_activation,
    activation_missing,
    layers_swapped,
    directions_swapped,
    directions_tied,
    time_reversed,
    units_permuted,
    float16_rounded,
)


def same(a: Network, b: Network) -> bool:
    """Whether two networks compute the same: quick to tell where they do not."""
    for ours, theirs in zip(a.layers, b.layers, strict=True):
        if (ours.formula, ours.merge, ours.time_restored) != (theirs.formula, theirs.merge, theirs.time_restored):
            return False
        if any(_differ(ours, *pair) for pair in zip(ours.directions, theirs.directions, strict=True)):
            return False
    return True


def _differ(layer: Layer, d: Direction, e: Direction) -> bool:
    if d.reverse != e.reverse or not np.array_equal(d.bias, e.bias):
        return True
    if layer.cell == "gru" and layer.gating.reset_after and not np.array_equal(d.bias_recurrent, e.bias_recurrent):
        return True
    weights = zip(d.tensors(), e.tensors(), strict=True)
    return any(not np.array_equal(ours, theirs) for (name, ours), (_, theirs) in weights if "bias" not in name)


def each(network: Network, change: Callable[[Direction], Direction]) -> Network:
    """`network` with `change` made in every layer and direction."""
    return replace(network, layers=tuple(_with(layer, change) for layer in network.layers))


def _with(layer: Layer, change: Callable[[Direction], Direction]) -> Layer:
    return replace(layer, directions=tuple(change(direction) for direction in layer.directions))


def _both_ways(network: Network, change: BothWays) -> Network | None:
    if not any(layer.bidirectional for layer in network.layers):
        return None
    layers = (
        replace(layer, directions=change(*layer.directions)) if layer.bidirectional else layer
        for layer in network.layers
    )
    return replace(network, layers=tuple(layers))


def _scaled_bias(network: Network, first: float, second: float) -> Network:
    return each(
        network,
        lambda d: (
            replace(d, bias_input=d.bias_input * d.bias_input.dtype.type(first))
            if not np.any(d.bias_recurrent)
            else replace(
                d,
                bias_input=d.bias_input * d.bias_input.dtype.type(first),
                bias_recurrent=d.bias_recurrent * d.bias_recurrent.dtype.type(second),
            )
        ),
    )


def _rolled(d: Direction) -> Direction:
    """The units of `d`, each in the place of the one before."""
    inner = (0, 1) if d.projection is not None else (1, 1)  # a projection stands between the units and h
    return replace(
        d,
        kernel=np.roll(d.kernel, 1, axis=2),
        recurrent_kernel=np.roll(d.recurrent_kernel, inner, axis=(1, 2)),
        bias_input=np.roll(d.bias_input, 1, axis=1),
        bias_recurrent=np.roll(d.bias_recurrent, 1, axis=1),
        peephole=d.peephole if d.peephole is None else np.roll(d.peephole, 1, axis=1),
        projection=d.projection if d.projection is None else np.roll(d.projection, 1, axis=1),
    )


def _is_square(d: Direction) -> bool:
    return d.input_size == d.hidden_size == d.state_size
