"""What a difference looks like where nothing accounts for it: said as a suspicion, or not at all."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from networks import single
from sides import NETWORKS, files, names

from rnnverify.canonical import Array, Direction, Network
from rnnverify.diagnosis.likeness import unrelated
from rnnverify.mistakes import each

NETWORK = single(5, 8, seed=11)
CLOSE = "correlation 0.9989 at least, changed by 0.048 of their size at most"
RNG = np.random.default_rng(0)


def changed(change: Callable[[Array], Array], *tensors: str) -> Network:
    wanted = tensors or ("kernel", "recurrent_kernel", "bias_input", "bias_recurrent")

    def one(d: Direction) -> Direction:
        W, U, b_ih, b_hh = (change(a) if name in wanted else a for name, a in d.tensors())
        return Direction(W, U, b_ih, b_hh, d.reverse)

    return each(NETWORK, one)


def one_weight(w: Array) -> Array:
    w = w.copy()
    w[0, 2, 3] += np.float32(0.01)
    return w


def one_row(w: Array) -> Array:
    w = w.copy()
    w[0, 4] = 0.3
    return w


def noisy(w: Array) -> Array:
    return np.asarray(w + 0.02 * RNG.normal(size=w.shape), np.float32)


def redrawn(w: Array) -> Array:
    return np.asarray(0.5 * RNG.normal(size=w.shape), np.float32)


def slots(w: Array) -> Array:
    return np.asarray(1e-4 * np.abs(RNG.normal(size=w.shape)), np.float32)


def fresh() -> Network:
    orthogonal = np.linalg.qr(RNG.normal(size=(8, 8)))[0].astype(np.float32)
    zeros = np.zeros((1, 8), np.float32)
    return each(NETWORK, lambda d: Direction(redrawn(d.kernel), orthogonal[None], zeros, zeros))


def average() -> Network:
    """As a moving average keeps them: between these and what they were some steps before."""
    return changed(lambda w: np.asarray(0.9 * w + 0.1 * (w + 0.3 * RNG.normal(size=w.shape)), np.float32))


LOOKS: dict[str, tuple[Network, str, str, str]] = {
    "one weight": (
        changed(one_weight, "recurrent_kernel"),
        "a few weights differ, and all others are equal",
        "layer 0 recurrent kernel [2, 3]",
        "certain",
    ),
    "one row": (
        changed(one_row, "kernel"),
        "one row or column of a tensor differs, and all others are equal",
        "layer 0 kernel, row 4",
        "certain",
    ),
    "part": (
        changed(redrawn, "recurrent_kernel"),
        "only a part of the weights is loaded",
        "layer 0 recurrent kernel",
        "suspected",
    ),
    "near": (changed(noisy), "the weights look like another state of the same training", CLOSE, "suspected"),
    "average": (average(), "the weights look like another state of the same training", "", "suspected"),
    "bias": (changed(redrawn, "bias_input"), "only the bias is another one", "layer 0 bias", "certain"),
    "slots": (changed(slots), "these look like an optimizer's numbers, not like weights", "", "suspected"),
    "fresh": (
        fresh(),
        "the weights look as if they were never loaded",
        "as Keras initialises them",
        "suspected",
    ),
}


@pytest.mark.parametrize(("wrong", "name", "where", "proof"), LOOKS.values(), ids=LOOKS.keys())
def test_it_looks_like(wrong: Network, name: str, where: str, proof: str) -> None:
    (finding,) = files(NETWORK, wrong)
    assert (finding.name, finding.proof, finding.after) == (name, proof, None)
    assert finding.where == where or (not where and finding.where.startswith("correlation 0.9"))


def test_two_networks_look_like_nothing() -> None:
    other = changed(redrawn)
    assert files(NETWORK, other) == ()
    assert unrelated(NETWORK, other) == (
        "the kernels have nothing in common but their shapes: another training run, or another network"
    )
    assert unrelated(NETWORK, changed(noisy)) == ""


def test_a_mistake_in_one_tensor_is_told_where_another_was_never_loaded() -> None:
    wrong = changed(redrawn, "kernel")
    turned = each(wrong, lambda d: replace(d, recurrent_kernel=d.recurrent_kernel.swapaxes(1, 2)))
    assert names(files(NETWORK, turned)) == ["the recurrent kernel is transposed"]


def test_a_zero_bias_is_no_cause_of_another_network() -> None:
    network = NETWORKS["square"]
    other = each(
        network,
        lambda d: Direction(redrawn(d.kernel), redrawn(d.recurrent_kernel), 0 * d.bias_input, 0 * d.bias_input),
    )
    assert files(network, other) == ()
