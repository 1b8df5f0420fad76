"""Dense layers behind the recurrent part, an embedding before it: what they make, and what rounding may do to that."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.around import Dense, Embedding, Head, apply, decided, enclosed, features, rule_of, same_shapes, softmax
from rnnverify.canonical import Array


def head(*sizes: int, activations: tuple[str, ...] = (), seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    names = activations or ("linear",) * (len(sizes) - 1)

    def some(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32)

    return Head(tuple(Dense(some(F, O), some(O), name) for F, O, name in zip(sizes, sizes[1:], names, strict=False)))


def in_float32(made: Head, y: Array) -> Array:
    """As a framework does, one float32 operation after another."""
    for dense in made.layers:
        z = y @ dense.kernel + dense.bias
        if dense.activation == "softmax":
            powers = np.exp(z - z.max(axis=-1, keepdims=True))
            y = powers / powers.sum(axis=-1, keepdims=True)
        elif dense.activation == "sigmoid":
            with np.errstate(over="ignore"):
                y = 1 / (1 + np.exp(-z))
        elif dense.activation == "relu":
            y = np.maximum(z, 0)
        else:
            y = np.tanh(z) if dense.activation == "tanh" else z
    assert y.dtype == np.float32
    return np.asarray(y)


@given(
    sizes=st.lists(st.integers(1, 20), min_size=2, max_size=4),
    last=st.sampled_from(["linear", "softmax", "sigmoid"]),
    inner=st.sampled_from(["relu", "tanh"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_correct_engine_stays_within_what_rounding_allows(sizes: list[int], last: str, inner: str, seed: int) -> None:
    made = head(*sizes, activations=(*([inner] * (len(sizes) - 2)), last), seed=seed)
    y = np.random.default_rng(seed).normal(size=(2, 5, sizes[0])).astype(np.float32)
    exact, allowed = enclosed(made, y, "float32")
    assert np.allclose(exact, apply(made, y), rtol=0, atol=1e-12)
    assert (np.abs(in_float32(made, y) - exact) <= allowed).all()


@pytest.mark.parametrize("last", ["linear", "softmax", "sigmoid"])
def test_a_wrong_weight_does_not(last: str) -> None:
    made = head(6, 3, activations=(last,))
    dense = made.layers[0]
    kernel = dense.kernel.copy()
    kernel[1, 2] += np.float32(1e-3)
    y = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
    exact, allowed = enclosed(made, y, "float32")
    assert 0 < allowed.max() < 1e-5
    wrong = in_float32(Head((Dense(kernel, dense.bias, last),)), y)
    assert (np.abs(wrong - exact) > allowed).any()


def test_softmax_is_a_distribution_wherever_the_outputs_lie() -> None:
    z = np.array([[1000.0, 0.0, -1000.0], [0.0, 0.0, 0.0]])
    assert np.allclose(softmax(z), np.array([[1, 0, 0], [1 / 3] * 3]))


def test_what_outputs_decide() -> None:
    assert rule_of(head(6, 3)) == "argmax" and rule_of(head(6, 1)) == ""
    assert rule_of(head(6, 1, activations=("sigmoid",))) == "above 0.5"
    assert decided(np.array([[[0.1, 0.9], [0.6, 0.4]]]), "argmax").tolist() == [[1, 0]]
    assert decided(np.array([[[0.4], [0.6]]]), "above 0.5").tolist() == [[False, True]]


def test_shapes_have_to_fit() -> None:
    assert same_shapes(head(6, 4, 3), head(6, 4, 3, seed=1)) and not same_shapes(head(6, 3), head(6, 4))
    with pytest.raises(ValueError, match="do not feed each other"):
        Head((*head(6, 4).layers, *head(5, 3).layers))
    with pytest.raises(ValueError, match="no dense layer"):
        Dense(np.ones((3, 2)), np.ones(3))


def test_rows_of_a_table() -> None:
    table = Embedding(np.arange(6.0).reshape(3, 2), "words")
    assert features(table, np.array([[2, 0]])).tolist() == [[[4.0, 5.0], [0.0, 1.0]]]
    for wrong in ([[3]], [[-1]]):
        with pytest.raises(IndexError, match="a table of 3"):
            features(table, np.array(wrong))
    assert str(table) == "Embedding 'words', 3 tokens" and str(head(6, 3)) == "Dense '', 6 -> 3"
