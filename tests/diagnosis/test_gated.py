"""Mistakes in gated networks are named, located and proved; correct ports and other networks get no name."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from networks import gated, gates, mixed
from sides import files, in_direction, names, original, port
from test_network import SAME

from rnnverify.canonical import GATES, Array, Direction, Layer, Network
from rnnverify.gate_mistakes import GATE_MISTAKES
from rnnverify.mistakes import MISTAKES, each, planted

NETWORKS = {
    "gru": gated("gru", 5, 8),
    "gru, reset before": gated("gru", 5, 8, seed=1, reset_after=False),
    "lstm": gated("lstm", 5, 8, seed=2),
    "lstm, square": gated("lstm", 8, 8, seed=3, activation="keras2_hard_sigmoid"),
    "lstm, peepholes": gated("lstm", 5, 8, seed=4, peepholes=True, cell_clip=0.5),
    "lstm, projected": gated("lstm", 5, 8, seed=5, P=6),
    "mixed": mixed(seed=6),
}
ORDER, SOME = "the gates are in another order", "some tensors have their gates in another order"
READ = {
    **SAME,
    "reset and update gate are swapped": ORDER,
    "reset and update gate are swapped in the input kernel, and not in the recurrent one": SOME,
    "reset and update gate are swapped in the recurrent kernel, and not in the input one": SOME,
    "the update gate keeps what it should replace: z and 1 - z are swapped": (
        "the update gate keeps what it should replace: z stands for 1 - z"
    ),
    "the two biases of the candidate are added up outside of the reset gate": (
        "the recurrent bias of the candidate is added to its input bias"
    ),
    "the two biases of the candidate are added up inside of the reset gate": (
        "the input bias of the candidate is added to its recurrent bias"
    ),
    "gates stored as i, c, f, o are read as i, f, c, o": ORDER,
    "gates stored as i, f, o, c are read as i, f, c, o": ORDER,
    "gates stored as i, o, f, c are read as i, f, c, o": ORDER,
    "gates stored as c, f, o, i are read as i, f, c, o": ORDER,
    "the forget bias of 1 that is added at run time is missing": "the forget bias is not added",
    "a forget bias of 1 is added to one that holds it": "the forget bias is added twice",
    "sigmoid stands for hard_sigmoid at the gates, or the other way round": "the gates have another activation",
    "the hard_sigmoid of Keras 3 stands for that of Keras 2, or the other way round": (
        "the gates have another activation"
    ),
}
"""What adequacy calls a mistake, and what the user reads where it is found; elsewhere both are one."""
ALSO = {
    "a kernel over [x, h] is read as one over [h, x]": "input and recurrent kernel are swapped",
    "the input kernel is reshaped where it should be transposed": "a square input kernel is transposed",
}
"""What is one and the same function where kernels are square."""
HIDDEN = {"the hidden units are in another order"}  # where a projection stands before them, nothing shows
EVERY = [
    (kind, words, wrong)
    for kind, network in NETWORKS.items()
    for words, wrong in planted(network, (*GATE_MISTAKES, *MISTAKES))
    if not (words in HIDDEN and "projected" in kind)
]
IDS = [f"{kind}, {words}" for kind, words, _ in EVERY]


def expected(words: str) -> set[str]:
    return {READ.get(words, words), ALSO.get(words, "")} - {""}


@pytest.mark.parametrize(("kind", "words", "wrong"), EVERY, ids=IDS)
def test_between_two_files(kind: str, words: str, wrong: Network) -> None:
    (finding,) = files(NETWORKS[kind], wrong)
    assert finding.name in expected(words)
    assert (finding.proof, finding.side) == ("certain", "B")
    assert finding.tensors or "rounded" in finding.name


@pytest.mark.parametrize(("kind", "words", "wrong"), EVERY, ids=IDS)
def test_where_the_port_is_a_recording(kind: str, words: str, wrong: Network) -> None:
    (finding,) = port(NETWORKS[kind], wrong)
    assert finding.name in expected(words)
    assert (finding.proof, finding.side) == ("confirmed", "B")


LOST = ("not loaded", "used in both", "rounded", "dropped", "added up")
INVERTIBLE = [(kind, words, wrong) for kind, words, wrong in EVERY if not any(word in words for word in LOST)]


@pytest.mark.parametrize(("kind", "words", "wrong"), INVERTIBLE, ids=[f"{k}, {words}" for k, words, _ in INVERTIBLE])
def test_where_the_original_is_a_recording(kind: str, words: str, wrong: Network) -> None:
    (finding,) = original(NETWORKS[kind], wrong)
    assert finding.name in expected(words)
    assert (finding.proof, finding.side) == ("confirmed", "B")


def redrawn(d: Direction, seed: int) -> Direction:
    rng = np.random.default_rng([seed, d.reverse])
    return d.mapped(lambda w: rng.normal(0, 0.5, w.shape).astype(w.dtype))


@pytest.mark.parametrize("compared", [files, port, original], ids=["files", "port", "original"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_correct_ports_and_other_networks_get_no_cause(network: Network, compared: object) -> None:
    assert callable(compared)
    assert compared(network, network) == ()
    assert compared(network, each(network, lambda d: redrawn(d, 9))) == ()


def test_a_bias_added_up_is_no_mistake_but_in_the_candidate_of_a_gru() -> None:
    def added(d: Direction) -> Direction:
        return replace(d, bias_input=d.bias.astype(np.float32), bias_recurrent=0 * d.bias_recurrent)

    for kind in ("lstm", "gru, reset before"):
        assert files(NETWORKS[kind], each(NETWORKS[kind], added)) == ()
    found = files(NETWORKS["gru"], each(NETWORKS["gru"], added))
    assert names(found) == ["the recurrent bias of the candidate is added to its input bias"]


def by_unit(w: Array, order: list[int]) -> Array:
    """A matrix whose columns are those of unit 0 (gates in `order`), then of unit 1, cut into blocks of H."""
    G, H = len(w), w.shape[-1]
    columns = [w[g][..., j] for j in range(H) for g in order]
    return np.stack([np.stack(columns[g * H : (g + 1) * H], axis=-1) for g in range(G)])


def interleaved(order: list[int]) -> Callable[[Direction], Direction]:
    def of(d: Direction) -> Direction:
        W, U, b, c = (by_unit(w, order) for w in (d.kernel, d.recurrent_kernel, d.bias_input, d.bias_recurrent))
        return replace(d, kernel=W, recurrent_kernel=U, bias_input=b, bias_recurrent=c)

    return of


def with_gate(d: Direction, gate: int, seed: int) -> Direction:
    other = redrawn(d, seed)
    W, U, b, c = (w.copy() for w in (d.kernel, d.recurrent_kernel, d.bias_input, d.bias_recurrent))
    for w, new in ((W, other.kernel), (U, other.recurrent_kernel), (b, other.bias_input), (c, other.bias_recurrent)):
        w[gate] = new[gate]
    return replace(d, kernel=W, recurrent_kernel=U, bias_input=b, bias_recurrent=c)


def coupled(d: Direction) -> Direction:
    W, U, b, c = (w.copy() for w in (d.kernel, d.recurrent_kernel, d.bias_input, d.bias_recurrent))
    for w in (W, U, b, c):
        w[1] = -w[0]
    return replace(d, kernel=W, recurrent_kernel=U, bias_input=b, bias_recurrent=c)


def whole(w: Array) -> Array:
    """As PyTorch stacks it, (G * H, R), reshaped to the (R, G * H) of Keras."""
    G, R, H = w.shape
    matrix = np.concatenate([block.T for block in w]).reshape(R, G * H)
    return np.stack([matrix[:, g * H : (g + 1) * H] for g in range(G)])


def cut(d: Direction) -> Direction:
    mixed_up = np.stack([d.bias_input[0], d.bias_recurrent[1], *d.bias_input[2:]])
    return replace(d, bias_input=mixed_up, bias_recurrent=0 * mixed_up)


def pairwise(d: Direction) -> Direction:
    both = np.concatenate([d.bias_input, d.bias_recurrent])
    return replace(d, bias_input=both[::2], bias_recurrent=both[1::2])


def with_gating(network: Network, **changes: object) -> Network:
    (layer,) = network.layers
    return Network((replace(layer, gating=replace(layer.gating, **changes)),))  # type: ignore[arg-type]  # of Gating


GRU, LSTM, PEEPING = NETWORKS["gru"], NETWORKS["lstm"], NETWORKS["lstm, peepholes"]
COUPLED = each(LSTM, coupled)
OTHERS: dict[str, tuple[Network, Network, str, str]] = {
    "interleaved": (
        LSTM,
        each(LSTM, interleaved([0, 1, 2, 3])),
        "the gates are interleaved unit by unit",
        "in the order i, f, g, o",
    ),
    "as Chainer": (
        LSTM,
        each(LSTM, interleaved([2, 0, 1, 3])),
        "the gates are interleaved unit by unit",
        "in the order g, i, f, o",
    ),
    "rare order": (
        LSTM,
        each(LSTM, lambda d: d.mapped(lambda w: w[[3, 2, 1, 0]])),
        ORDER,
        "o, g, f, i for i, f, g, o",
    ),
    "order of the bias": (
        LSTM,
        each(
            LSTM,
            lambda d: replace(d, bias_input=d.bias_input[[0, 2, 1, 3]], bias_recurrent=d.bias_recurrent[[0, 2, 1, 3]]),
        ),
        SOME,
        "bias, i, g, f, o for i, f, g, o (TensorFlow 1, Keras 1)",
    ),
    "kernel": (
        GRU,
        each(GRU, lambda d: replace(d, kernel=whole(d.kernel))),
        "the input kernel is reshaped where it should be transposed",
        "",
    ),
    "recurrent kernel": (
        LSTM,
        each(LSTM, lambda d: replace(d, recurrent_kernel=whole(d.recurrent_kernel))),
        "the recurrent kernel is reshaped where it should be transposed",
        "",
    ),
    "halves": (
        LSTM,
        each(LSTM, cut),
        "two biases are cut apart at the wrong places",
        "of f the second half, of the others the first",
    ),
    "pairs": (GRU, each(GRU, pairwise), "two biases are cut apart at the wrong places", "gate by gate"),
    "output": (
        LSTM,
        with_gating(LSTM, output="linear"),
        "the cell state is emitted through another activation",
        "linear for tanh",
    ),
    "clip": (
        PEEPING,
        with_gating(PEEPING, cell_clip=0.0),
        "the cell state is clipped on one side only",
        "not at all",
    ),
    "peephole order": (
        PEEPING,
        each(PEEPING, lambda d: replace(d, peephole=None if d.peephole is None else d.peephole[[0, 2, 1]])),
        "the peepholes are in another order",
        "i, o, f for i, f, o",
    ),
    "reset": (
        GRU,
        with_gating(GRU, reset_after=False),
        "the reset gate acts on the other side of the recurrent product",
        "before the product, not after it",
    ),
}


@pytest.mark.parametrize("compared", [files, port], ids=["files", "port"])
@pytest.mark.parametrize(("right", "wrong", "name", "where"), OTHERS.values(), ids=OTHERS.keys())
def test_what_no_list_of_mistakes_has(right: Network, wrong: Network, name: str, where: str, compared: object) -> None:
    assert callable(compared)
    (finding,) = compared(right, wrong)
    assert (finding.name, finding.where) == (name, where)


def test_what_only_files_show() -> None:
    (finding,) = files(COUPLED, each(COUPLED, lambda d: with_gate(d, 1, 3)))
    assert finding.name == "input and forget gate are coupled on one side only"
    assert (finding.where, finding.proof) == ("layer 0, f", "certain")
    lower = each(LSTM, lambda d: replace(d, bias_input=d.bias_input - np.array([[0], [2.5], [0], [0]], np.float32)))
    (finding,) = files(LSTM, lower)
    assert (finding.name, finding.where) == ("the forget bias is not added", "layer 0: 2.5")
    bare = each(PEEPING, lambda d: replace(d, peephole=None))
    assert names(files(PEEPING, bare)) == ["the peepholes are not loaded"]


def test_a_gate_that_was_not_loaded_is_named() -> None:
    (finding,) = files(LSTM, each(LSTM, lambda d: with_gate(d, GATES["lstm"].index("o"), 3)))
    assert finding.name == "only a part of the weights is loaded"
    assert "layer 0 output gate kernel" in finding.where and "forget" not in finding.where
    changed = LSTM.layers[0].directions[0].kernel.copy()
    changed[1, 2, 3] += 1
    (finding,) = files(LSTM, each(LSTM, lambda d: replace(d, kernel=changed)))
    assert (finding.name, finding.where) == (
        "a few weights differ, and all others are equal",
        "layer 0 forget gate kernel [2, 3]",
    )


def test_other_units_and_signs() -> None:
    signs = np.array([1, -1, 1, 1, -1, 1, 1, 1], np.float32)

    def flipped(d: Direction) -> Direction:
        kept = np.ones((4, 8), np.float32)
        kept[2] = signs
        U = d.recurrent_kernel * kept[:, None] * signs[:, None]
        return replace(
            d,
            kernel=d.kernel * kept[:, None],
            recurrent_kernel=U,
            bias_input=d.bias_input * kept,
            bias_recurrent=d.bias_recurrent * kept,
        )

    for compared in (files, port, original):
        (finding,) = compared(LSTM, each(LSTM, flipped))
        assert finding.name == "the hidden units are in another order, or of another sign or scale"
        assert finding.where == "layer 0: signs of 1 4 flipped"


def test_one_layer_or_direction_is_located() -> None:
    rng = np.random.default_rng(8)
    both = Layer((gates(rng, "gru", 5, 6), gates(rng, "gru", 5, 6, reverse=True)), cell="gru")
    network = Network((both, Layer((gates(rng, "gru", 12, 6),), cell="gru")))
    wrong = in_direction(network, 0, 1, lambda d: d.mapped(lambda w: w[[1, 0, 2]]))
    for compared in (files, port, original):
        (finding,) = compared(network, wrong)
        assert (finding.name, finding.where) == (ORDER, "layer 0 reverse: z, r, n for r, z, n (Keras, ONNX)")
    (finding,) = port(network, wrong, states=False)
    assert (finding.name, finding.where) == (ORDER, "layer 0 reverse: z, r, n for r, z, n (Keras, ONNX)")


def test_two_at_once() -> None:
    def both(d: Direction) -> Direction:
        swapped = d.mapped(lambda w: w[[0, 2, 1, 3]])
        lower = swapped.bias_input - np.array([[0], [1], [0], [0]], np.float32)
        return replace(swapped, recurrent_kernel=swapped.recurrent_kernel.swapaxes(1, 2), bias_input=lower)

    wanted = {ORDER, "the recurrent kernel is transposed", "the forget bias is not added"}
    assert set(names(files(LSTM, each(LSTM, both)))) == wanted


def test_the_block_of_one_gate_is_transposed() -> None:
    def one(d: Direction) -> Direction:
        turned = d.recurrent_kernel.copy()
        turned[2] = turned[2].T
        return replace(d, recurrent_kernel=turned)

    for network in (GRU, LSTM):
        for compared in (files, port, original):
            (finding,) = compared(network, each(network, one))
            assert finding.name == "the recurrent kernel of one gate is transposed"
            assert finding.where == "layer 0, candidate"


def test_a_lost_forget_bias_is_called_so_though_it_stands_in_the_second_bias() -> None:
    def apart(d: Direction) -> Direction:
        return replace(d, bias_recurrent=np.array([[0], [1], [0], [0]], np.float32) * np.ones_like(d.bias_recurrent))

    def lost(d: Direction) -> Direction:
        return replace(d, bias_recurrent=np.zeros_like(d.bias_recurrent))

    right = each(LSTM, apart)
    (finding,) = files(right, each(right, lost))
    assert finding.name == "the forget bias is not added"


def test_equal_biases_are_not_said_to_be_cut_elsewhere() -> None:
    # as PyTorch trains them that started equal: a half is a half wherever it is cut
    right = each(gated("lstm", 5, 8, seed=70), lambda d: replace(d, bias_recurrent=d.bias_input.copy()))
    dropped = each(right, lambda d: replace(d, bias_recurrent=np.zeros_like(d.bias_recurrent)))
    assert names(files(right, dropped)) == ["the second of two biases is dropped"]
