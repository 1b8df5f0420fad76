"""Mistakes in the network are named, located and proved, whichever side is known by its weights."""

from dataclasses import replace

import numpy as np
import pytest
from networks import bidirectional, single, stacked
from sides import NETWORKS, files, in_direction, names, original, port

from rnnverify import mistakes
from rnnverify.canonical import Array, Direction, Network
from rnnverify.mistakes import each, planted

SAME = {
    "relu stands for tanh, or tanh for another activation": "another activation stands in its place",
    "forward and backward weights are swapped": "forward and backward weights are swapped",
    "the forward weights are used in both directions": "the weights of one direction are used in both",
    "a sequence is read from its end": "a sequence is read from the wrong end",
    "the hidden units are in another order": "the hidden units are in another order, or of another sign or scale",
    "the weights are rounded to float16": "the weights are rounded to fewer digits",
}
"""What adequacy calls a mistake, and what the user reads where it is found; elsewhere both are one."""
ALSO = {
    "a kernel over [x, h] is read as one over [h, x]": "input and recurrent kernel are swapped",
    "the input kernel is reshaped where it should be transposed": "a square input kernel is transposed",
}
"""What is one and the same function where kernels are square."""
EVERY = [(kind, words, wrong) for kind, network in NETWORKS.items() for words, wrong in planted(network)]
LOST = ("not loaded", "used in both", "rounded", "dropped")


def expected(words: str) -> set[str]:
    return {SAME.get(words, words), ALSO.get(words, "")} - {""}


@pytest.mark.parametrize(("kind", "words", "wrong"), EVERY, ids=[f"{kind}, {words}" for kind, words, _ in EVERY])
def test_between_two_files(kind: str, words: str, wrong: Network) -> None:
    (finding,) = files(NETWORKS[kind], wrong)
    assert finding.name in expected(words)
    assert (finding.proof, finding.side) == ("certain", "B")
    assert finding.before is not None and finding.after is not None
    assert finding.after < 1e-5 * finding.before or "rounded" in finding.name


@pytest.mark.parametrize(("kind", "words", "wrong"), EVERY, ids=[f"{kind}, {words}" for kind, words, _ in EVERY])
def test_where_the_port_is_a_recording(kind: str, words: str, wrong: Network) -> None:
    (finding,) = port(NETWORKS[kind], wrong)
    assert finding.name in expected(words)
    assert (finding.proof, finding.side) == ("confirmed", "B")
    assert finding.after is not None and finding.before is not None
    assert finding.after < 1e-5 * finding.before or "rounded" in finding.name


INVERTIBLE = [each for each in EVERY if not any(word in each[1] for word in LOST)]


@pytest.mark.parametrize(("kind", "words", "wrong"), INVERTIBLE, ids=[f"{k}, {words}" for k, words, _ in INVERTIBLE])
def test_where_the_original_is_a_recording(kind: str, words: str, wrong: Network) -> None:
    (finding,) = original(NETWORKS[kind], wrong)
    assert finding.name in expected(words)
    assert (finding.proof, finding.side) == ("confirmed", "B")


def test_a_lost_bias_is_read_off_the_states_of_the_original() -> None:
    network = NETWORKS["single"]
    wrong = mistakes.bias_dropped(network)
    dropped = mistakes.recurrent_bias_dropped(network)
    assert wrong is not None and dropped is not None
    assert names(original(network, wrong)) == ["the bias is not loaded"]
    assert names(original(network, dropped)) == ["only the bias is another one"]


def transposed(d: Direction) -> Direction:
    return replace(d, recurrent_kernel=d.recurrent_kernel.swapaxes(1, 2))


@pytest.mark.parametrize("compared", [files, port, original], ids=["files", "port", "original"])
def test_a_mistake_in_one_layer_or_direction_is_located(compared: object) -> None:
    assert callable(compared)
    network = stacked(5, [6, 6, 6])
    (finding,) = compared(network, in_direction(network, 1, 0, transposed))
    assert (finding.name, finding.where) == ("the recurrent kernel is transposed", "layer 1")
    both = bidirectional(5, 6)
    (finding,) = compared(both, in_direction(both, 0, 1, transposed))
    assert (finding.name, finding.where) == ("the recurrent kernel is transposed", "layer 0 reverse")


def test_outputs_alone_tell_too() -> None:
    network = stacked(5, [6, 6])
    (finding,) = port(network, in_direction(network, 0, 0, transposed), states=False)
    assert (finding.name, finding.where, finding.proof) == (
        "the recurrent kernel is transposed",
        "layer 0",
        "confirmed",
    )


PAIRS = [
    (mistakes.recurrent_transposed, mistakes.bias_doubled),
    (mistakes.kernel_transposed, mistakes.recurrent_transposed),
    (mistakes.bias_dropped, mistakes.other_activation),
    (mistakes.kernel_reshaped, mistakes.recurrence_lost),
    (mistakes.units_permuted, mistakes.recurrent_transposed),
    (mistakes.float16_rounded, mistakes.recurrent_transposed),
]


@pytest.mark.parametrize("compared", [files, port], ids=["files", "port"])
@pytest.mark.parametrize("pair", PAIRS, ids=[f"{a.__name__} and {b.__name__}" for a, b in PAIRS])
def test_two_at_once(pair: tuple[mistakes.Mistake, mistakes.Mistake], compared: object) -> None:
    assert callable(compared)
    network = single(5, 8, seed=9) if mistakes.kernel_reshaped in pair else single(8, 8, seed=9)
    once = pair[0](network)
    twice = pair[1](once) if once else None
    assert twice is not None
    wanted = {SAME.get(words, words) for words in ((mistake.__doc__ or "").strip() for mistake in pair)}
    assert set(names(compared(network, twice))) == wanted


def rounded(change: object) -> Network:
    assert callable(change)
    return each(
        NETWORKS["single"], lambda d: replace(d, kernel=change(d.kernel), recurrent_kernel=change(d.recurrent_kernel))
    )


def int8(w: Array) -> Array:
    scale = np.abs(w).max() / 127
    return np.asarray(np.round(w / scale) * scale, np.float32)


def with_kernel(change: object, name: str = "kernel") -> Network:
    assert callable(change)
    return each(NETWORKS["single"], lambda d: replace(d, **{name: change(getattr(d, name))}))


OTHERS: dict[str, tuple[Network, str, str]] = {
    "int8": (rounded(int8), "the weights are rounded to fewer digits", "to int8, one scale for each tensor"),
    "decimals": (rounded(lambda w: np.round(w, 3)), "the weights are rounded to fewer digits", "to 3 decimals"),
    "scaled": (
        with_kernel(lambda w: w * np.float32(0.3)),
        "a tensor is multiplied by a constant",
        "layer 0 kernel, 0.3 times",
    ),
    "features": (
        with_kernel(lambda w: w[:, [1, 0, 2, 4, 3]]),
        "the rows of a kernel are in another order",
        "layer 0 kernel, rows 1 0 2 4 3",
    ),
    "columns": (
        with_kernel(lambda w: w[:, :, [1, 0, 2, 3, 4, 5, 6, 7]], "recurrent_kernel"),
        "the columns of a tensor are in another order",
        "layer 0 recurrent kernel, columns 1 0 2 3 4 5 6 7",
    ),
}


@pytest.mark.parametrize(("wrong", "name", "where"), OTHERS.values(), ids=OTHERS.keys())
def test_what_only_files_show(wrong: Network, name: str, where: str) -> None:
    (finding,) = files(NETWORKS["single"], wrong)
    assert (finding.name, finding.where, finding.proof) == (name, where, "certain")


def test_layers_and_merges() -> None:
    network = stacked(6, [6, 6])
    first, second = network.layers
    twice = Network((first, replace(second, directions=first.directions)))
    assert names(files(network, twice)) == ["the weights of one layer are used in another too"]
    summed = NETWORKS["summed"]
    averaged = Network((replace(summed.layers[0], merge="ave"),))
    (finding,) = port(summed, averaged)
    assert (finding.name, finding.where) == ("the two directions are merged in another way", "layer 0: ave for sum")
    both = bidirectional(5, 6)
    turned = Network((replace(both.layers[0], time_restored=False),))
    assert names(port(both, turned)) == ["the outputs of a backward run are not turned back in time"]


def test_the_first_side_may_be_the_wrong_one() -> None:
    network = NETWORKS["single"]
    wrong = mistakes.bias_dropped(network)
    assert wrong is not None
    (finding,) = files(wrong, network)
    assert (finding.name, finding.side) == ("the bias is not loaded", "A")


def test_equal_and_simply_different_networks_get_no_cause() -> None:
    for k, network in enumerate(NETWORKS.values()):
        other = each(network, lambda d, k=k: random_like(d, k))  # type: ignore[misc]  # mypy infers no type for a lambda with a default
        for compared in (files, port, original):
            assert compared(network, network) == ()
            assert compared(network, other) == ()


def random_like(d: Direction, seed: int) -> Direction:
    rng = np.random.default_rng([seed, 7, d.reverse])
    W, U, b_ih, b_hh = (rng.normal(0, 0.5, tensor.shape).astype(np.float32) for _, tensor in d.tensors())
    return Direction(W, U, b_ih, b_hh, d.reverse)


def test_what_is_lost_is_suspected_where_the_original_is_a_recording() -> None:
    network = NETWORKS["single"]
    wrong = mistakes.recurrence_lost(network)
    assert wrong is not None
    (finding,) = original(network, wrong)
    assert finding.name == "the recurrent kernel is not loaded"
    assert finding.before is not None and finding.after is not None and finding.after < 1e-3 * finding.before
