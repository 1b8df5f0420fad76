"""Whole layers and directions in the wrong place, used twice, or put together in another way."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, permutations
from typing import get_args

import numpy as np

from rnnverify import mistakes
from rnnverify.canonical import Layer, Merge, Network
from rnnverify.diagnosis.hypothesis import Networks, Seen, layered, placed


def layers_swapped(network: Network, _: Seen) -> Networks:
    """two layers are swapped

    Weights were paired in the order of names, where lstm_10 comes before lstm_2. The shapes fit, the output is wrong
    from step 0 on. Pair layers by the number in their name.

    Keras: model.layers has them in order.
    PyTorch: weight_ih_l0 is of the first layer, weight_ih_l1 of the second.
    TensorFlow: cell_0 is of the first layer, cell_1 of the second.
    """
    # keras-team/keras#10777 and pull 3488
    for k, m in combinations(range(len(network.layers)), 2):
        if _alike(network.layers[k], network.layers[m]):
            one, other = _weights_of(network.layers[k], network.layers[m])
            yield f"layer {k} and layer {m}", layered(layered(network, k, one), m, other)


def layer_repeated(network: Network, _: Seen) -> Networks:
    """the weights of one layer are used in another too

    A loop over layers read the same tensors each time: the first layer is right, the other is not. Use the index of the
    loop in the name.

    Keras: model.layers[k].get_weights(), not layers[0].
    PyTorch: f"weight_ih_l{k}", not weight_ih_l0.
    TensorFlow: f"cell_{k}", not cell_0.
    """
    for k, m in permutations(range(len(network.layers)), 2):
        if _alike(network.layers[k], network.layers[m]):
            changed, _other = _weights_of(network.layers[m], network.layers[k])
            yield f"layer {k} in the place of layer {m}", layered(network, m, changed)


def directions_swapped(network: Network, _: Seen) -> Networks:
    """forward and backward weights are swapped

    Each half of the output is wrong. Forward comes first everywhere; match the two directions by name.

    Keras: set_weights takes the three of forward_layer, then the three of backward_layer.
    PyTorch: weight_ih_l0 is forward, weight_ih_l0_reverse backward.
    TensorFlow: the scope fw is forward, bw backward.
    """
    # tensorflow/tensorflow#6072
    yield from _in_layers(network, lambda f, b: (replace(b, reverse=f.reverse), replace(f, reverse=b.reverse)))


def directions_tied(network: Network, _: Seen) -> Networks:
    """the weights of one direction are used in both

    A line was copied and not changed: one half of the output is exact, the other wrong. Load the reverse direction from
    its own tensors.

    Keras: backward_layer has three of its own.
    PyTorch: they end in _reverse.
    TensorFlow: they are in the scope bw.
    """
    # ematvey/tensorflow-seq2seq-tutorials#1
    yield from _in_layers(network, lambda f, b: (f, replace(f, reverse=b.reverse)))
    yield from _in_layers(network, lambda f, b: (replace(b, reverse=f.reverse), b))


def directions_tied_back(network: Network, seen: Seen) -> Networks:
    """Where both directions hold the same weights, the backward ones of the other side, or nearly those."""
    found = network
    for k, layer in enumerate(network.layers):
        kernels = [d.kernel for d in layer.directions]
        tied = layer.bidirectional and np.array_equal(kernels[0], kernels[1])
        likely = seen.likely(network) if tied else None
        if likely:
            theirs = likely.layers[k].directions[1]
            if np.isfinite(theirs.kernel).all():
                found = placed(found, (k, 1), theirs)
    if found is not network:
        yield "", found


def halves_swapped(network: Network, _: Seen) -> Networks:
    """a layer reads [backward, forward] instead of [forward, backward]

    The rows of its input kernel are in two halves, one for each direction of the layer below, and they are exchanged.
    Layer 0 is right, the ones above are wrong. Concatenate forward first: [fw, bw].
    """
    for k in range(1, len(network.layers)):
        below, layer = network.layers[k - 1], network.layers[k]
        if below.bidirectional and below.merge == "concat":
            H = below.hidden_size
            turned = (replace(d, kernel=np.roll(d.kernel, H, axis=1)) for d in layer.directions)
            yield f"layer {k}", layered(network, k, replace(layer, directions=tuple(turned)))


def merged_otherwise(network: Network, _: Seen) -> Networks:
    """the two directions are merged in another way

    Sum, average and product of the directions have one shape, so nothing complains. Merge them as the network was
    trained.

    Keras: merge_mode= of Bidirectional.
    PyTorch: it only concatenates: write y[..., :H] + y[..., H:] for a sum.
    TensorFlow: it gives both: write outputs[0] + outputs[1] for a sum.
    """
    # tensorflow/tensorflow#31805, pytorch/pytorch#10838
    for k, layer in enumerate(network.layers):
        if layer.bidirectional and layer.merge != "concat":
            for merge in get_args(Merge):
                if merge not in ("concat", layer.merge):
                    yield f"layer {k}: {merge} for {layer.merge}", layered(network, k, replace(layer, merge=merge))


def _alike(one: Layer, other: Layer) -> bool:
    shapes = [[d.kernel.shape for d in layer.directions] for layer in (one, other)]
    return shapes[0] == shapes[1]


def _weights_of(one: Layer, other: Layer) -> tuple[Layer, Layer]:
    """Both layers, each with the weights of the other."""
    pairs = list(zip(one.directions, other.directions, strict=True))
    first = tuple(replace(b, reverse=a.reverse) for a, b in pairs)
    second = tuple(replace(a, reverse=b.reverse) for a, b in pairs)
    return replace(one, directions=first), replace(other, directions=second)


def _in_layers(network: Network, change: mistakes.BothWays) -> Networks:
    """`change` in every bidirectional layer, then in one."""
    both = [k for k, layer in enumerate(network.layers) if layer.bidirectional]
    changed = network
    for k in both:
        changed = _one_layer(changed, k, change)
    if both:
        yield "", changed
    if len(both) > 1:
        for k in both:
            yield f"layer {k}", _one_layer(network, k, change)


def _one_layer(network: Network, k: int, change: mistakes.BothWays) -> Network:
    layer = network.layers[k]
    return layered(network, k, replace(layer, directions=change(*layer.directions)))
