"""Another activation than the one that the network was trained with, or none."""

from __future__ import annotations

from dataclasses import replace

from rnnverify.activations import ACTIVATIONS
from rnnverify.canonical import Network
from rnnverify.diagnosis.hypothesis import Networks, Seen, layered

_USUAL = ("tanh", "relu", "sigmoid", "hard_sigmoid", "keras2_hard_sigmoid", "softsign")
_OTHERS = tuple(name for name in ACTIVATIONS if name != "linear")


def activation_missing(network: Network, seen: Seen) -> Networks:
    """the activation is missing

    States grow beyond 1 where they were bounded: each step is computed without its activation. Set the one that the
    network was trained with.

    Keras: activation="tanh".
    PyTorch: nonlinearity="tanh", and a loop of your own needs torch.tanh around the sum.
    TensorFlow: BasicRNNCell(H, activation=tf.nn.tanh).
    """
    yield from _with_others(network, seen, ("linear",))


def activation_missing_back(network: Network, seen: Seen) -> Networks:
    """Where a layer has none, each that it may have had."""
    if any(layer.activation == "linear" for layer in network.layers):
        yield from _with_others(network, seen, _OTHERS)


def activation_is_another(network: Network, seen: Seen) -> Networks:
    """another activation stands in its place

    The weights are right, the function of each step is not: most weight files do not name it, and defaults differ. Set
    the one that the network was trained with.

    Keras: activation= of the layer.
    PyTorch: nonlinearity= of nn.RNN; this tool takes --activation where the file states none.
    TensorFlow: activation= of the cell; this tool takes --activation where the file states none.
    """
    # microsoft/onnxruntime#4034, pytorch/pytorch#72240, apache/mxnet#10870, tensorflow/tensorflow#65381
    yield from _with_others(network, seen, _OTHERS if seen.network else _USUAL)


def activation_is_a_rare_one(network: Network, seen: Seen) -> Networks:
    """As `activation_is_another`; apart, because so many would make pairs of mistakes slow to try."""
    yield from _with_others(network, seen, tuple(name for name in _OTHERS if name not in _USUAL))


activation_is_a_rare_one.__doc__ = activation_is_another.__doc__


def _with_others(network: Network, seen: Seen, names: tuple[str, ...]) -> Networks:
    """Each of `names` in all layers, then in one; of those that the other side has, where that is known."""
    if seen.network is not None:
        theirs = tuple(layer.activation for layer in seen.network.layers)
        ours = tuple(layer.activation for layer in network.layers)
        changed = [(k, a, b) for k, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
        if changed and all(b in names for _, _, b in changed):
            places = "" if len(changed) == len(ours) else ", ".join(f"layer {k}" for k, _, _ in changed)
            instead = ", ".join(dict.fromkeys(f"{b} for {a}" for _, a, b in changed))
            yield (f"{places}: {instead}" if places else instead), network.with_activations(theirs)
        return
    for name in names:
        if any(layer.activation != name for layer in network.layers):
            instead = "/".join(dict.fromkeys(layer.activation for layer in network.layers if layer.activation != name))
            yield f"{name} for {instead}", network.with_activations((name,) * len(network.layers))
    if len(network.layers) > 1:
        for k, layer in enumerate(network.layers):
            for name in names:
                if name != layer.activation:
                    where = f"layer {k}: {name} for {layer.activation}"
                    yield where, layered(network, k, replace(layer, activation=name))
