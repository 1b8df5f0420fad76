"""Stochastic arithmetic: when rounding alone parts two runs."""

import numpy as np
import pytest
from networks import batches, bidirectional, edited, single

from rnnverify.canonical import Network
from rnnverify.horizon import expected_parting


def scaled(radius: float, H: int = 48) -> Network:
    """A network whose recurrent kernel has about that spectral radius."""
    network = single(4, H, seed=3)
    rng = np.random.default_rng(5)
    U = (rng.normal(size=(1, H, H)) * radius / np.sqrt(H)).astype(np.float32)
    return edited(network, recurrent_kernel=U)


def test_a_chaotic_network_parts_and_a_stable_one_does_not() -> None:
    (zero, from_h0) = batches(scaled(3), B=2, T=200)
    for batch in (zero, from_h0):
        step = expected_parting(scaled(3), batch, 1, 200, "float32", 1e-3)
        assert step is not None and 8 < step < 150
        assert expected_parting(scaled(0.5), batch, 1, 200, "float32", 1e-3) is None


def test_it_comes_earlier_the_less_is_allowed_and_the_coarser_the_dtype() -> None:
    (batch, _) = batches(scaled(3), B=1, T=200)

    def at(dtype: str, limit: float) -> int:
        step = expected_parting(scaled(3), batch, 0, 200, dtype, limit)
        assert step is not None
        return step

    assert at("float32", 1e-5) <= at("float32", 1e-2) <= at("float64", 1e-2)


def test_within_the_steps_that_were_asked_for() -> None:
    (batch, _) = batches(scaled(3), B=1, T=200)
    assert expected_parting(scaled(3), batch, 0, 5, "float32", 1e-3) is None


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
def test_both_directions_run(merge: str) -> None:
    network = bidirectional(3, 4, merge=merge)  # type: ignore[arg-type]  # the parameters are the merge modes
    assert expected_parting(network, batches(network)[0], 0, 5, "float32", 1e-3) is None
