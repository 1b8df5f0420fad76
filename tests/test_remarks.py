"""What sizes and inputs hide, said in words."""

from dataclasses import replace

import numpy as np
import pytest
from networks import batches, computed, edited, single

from rnnverify.canonical import Network
from rnnverify.probes import make_probes
from rnnverify.remarks import remarks
from rnnverify.trace import Batch


def about(network: Network, given: tuple[Batch, ...] | None = None, *, known: bool = True) -> str:
    given = given or batches(network)
    return "; ".join(remarks(network, computed(network, given), given, known=known))


def test_nothing_is_said_of_an_ordinary_comparison() -> None:
    assert about(single(3, 4)) == ""
    assert remarks(None, computed(single(3, 4), batches(single(3, 4))), batches(single(3, 4)), known=True) == ()


def test_square_kernels_and_square_inputs() -> None:
    assert "as many inputs as units (4): a kernel transposed or swapped would fit in shape" in about(single(4, 4))
    assert "as many sequences as steps (5)" in about(single(3, 4), batches(single(3, 4), B=5, T=5))


def test_a_single_step_and_zero_inputs() -> None:
    assert "one step" in about(single(3, 4), batches(single(3, 4), T=1))
    zero = tuple(replace(batch, x=np.zeros_like(batch.x)) for batch in batches(single(3, 4)))
    assert "all input sequences are zero" in about(single(3, 4), zero)


def test_zero_biases() -> None:
    zeros = np.zeros((1, 4), np.float32)
    words = "all biases are zero"
    assert words in about(edited(single(3, 4), bias_input=zeros, bias_recurrent=zeros))
    assert words not in about(edited(single(3, 4), bias_input=zeros))


def test_units_that_show_nothing() -> None:
    bias = np.array([[0, 0, 30, -30]], np.float32)
    assert "layer 0: 2 of 4 units are saturated at every step" in about(edited(single(3, 4), bias_input=bias))
    dead = edited(single(3, 4, activation="relu"), bias_input=np.array([[0, 0, 0, -99]], np.float32))
    assert "layer 0: 1 of 4 units are zero at every step" in about(dead)


@pytest.mark.parametrize("known", [True, False])
def test_missing_probes_matter_where_weights_are_not_known(known: bool) -> None:
    network = single(3, 4)
    assert ("no one-step probes were run" in about(network, known=known)) == (not known)
    probes = make_probes(network)
    assert probes
    assert "probes" not in about(network, (*batches(network), probes), known=False)
