"""Outputs of a stack show the states below where the layers above can be turned back, and nothing where they cannot."""

from dataclasses import replace

import numpy as np
from networks import batches, bidirectional, stacked
from sides import in_direction, port

from rnnverify import reference
from rnnverify.canonical import Layer, Network
from rnnverify.diagnosis.peeled import peeled
from rnnverify.trace import Run


def recorded(network: Network) -> list[Run]:
    return list(reference.run(network, batches(network, 6, 20)).runs.values())


def test_states_of_lower_layers_are_found() -> None:
    network = stacked(4, [6, 6, 6], seed=3)
    runs = recorded(network)
    found = peeled(network, [replace(run, states=(), h_n=()) for run in runs])
    assert len(found) == len(runs)
    for run, shown in zip(runs, found, strict=True):
        for states, ours in zip(run.states, shown.states, strict=True):
            told = np.isfinite(ours)
            assert told.mean() > 0.3 and np.allclose(ours[told], states[told], atol=1e-5)


def test_what_cannot_be_turned_back_shows_nothing() -> None:
    network = stacked(4, [6, 5], seed=3)  # five outputs do not show six inputs
    assert peeled(network, recorded(network)) == []
    summed = bidirectional(4, 6, merge="sum")
    top = stacked(6, [6]).layers[0]
    assert peeled(Network((*summed.layers, top)), recorded(Network((*summed.layers, top)))) == []
    relu = stacked(4, [6, 6]).with_activations(("relu", "hard_sigmoid"))
    assert peeled(relu, recorded(relu)) == []


def test_features_in_another_order_are_named_by_outputs_alone() -> None:
    network = stacked(5, [6, 6], seed=8)
    wrong = in_direction(network, 0, 0, lambda d: replace(d, kernel=d.kernel[:, [1, 0, 2, 4, 3]]))
    (finding,) = port(network, wrong, states=False)
    assert finding.name == "the rows of a kernel are in another order"
    assert finding.where == "layer 0 kernel, rows 1 0 2 4 3"


def test_units_of_the_top_layer_in_another_order_are_named_by_outputs_alone() -> None:
    network = stacked(5, [6, 6], seed=9)
    order = [3, 1, 0, 2, 5, 4]
    (top,) = network.layers[1].directions
    moved = replace(
        top,
        kernel=top.kernel[:, :, order],
        recurrent_kernel=top.recurrent_kernel[:, order][:, :, order],
        bias_input=top.bias_input[:, order],
        bias_recurrent=top.bias_recurrent[:, order],
    )
    (finding,) = port(network, Network((network.layers[0], Layer((moved,)))), states=False)
    assert finding.name == "the hidden units are in another order, or of another sign or scale"
    assert finding.where == "layer 1: units 3 1 0 2 5 4"
