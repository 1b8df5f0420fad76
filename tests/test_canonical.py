"""The canonical form: gates in order, shapes refused, sizes counted, values fingerprinted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import bidirectional, direction, edited, networks, single, stacked

from rnnverify.canonical import Array, Direction, Layer, Network, reorder


@given(st.permutations("ifgo"), st.permutations("ifgo"))
def test_reorder_is_undone_by_its_inverse(stored: list[str], wanted: list[str]) -> None:
    array = np.arange(8).reshape(4, 2)
    there = reorder(array, "".join(stored), "".join(wanted))
    assert np.array_equal(reorder(there, "".join(wanted), "".join(stored)), array)
    assert [list(row) for row in there] == [list(array[stored.index(gate)]) for gate in wanted]


@pytest.mark.parametrize(("stored", "wanted"), [("ifg", "ifo"), ("ifgo", "ifg"), ("if", "if")])
def test_reorder_refuses_other_gates(stored: str, wanted: str) -> None:
    with pytest.raises(ValueError, match="cannot reorder 3 gates"):
        reorder(np.zeros((3, 2)), stored, wanted)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("kernel", (3, 4)),
        ("kernel", (1, 3, 5)),
        ("kernel", (2, 3, 4)),
        ("kernel", (1, 0, 4)),
        ("recurrent_kernel", (1, 3, 4)),
        ("recurrent_kernel", (4, 4)),
        ("bias_input", (4,)),
        ("bias_input", (1, 1)),
        ("bias_recurrent", (1, 3)),
        ("bias_recurrent", (4, 1)),
    ],
)
def test_a_direction_refuses_other_shapes(name: str, shape: tuple[int, ...]) -> None:
    sound = direction(np.random.default_rng(0), 3, 4)
    with pytest.raises(ValueError, match="has shape"):
        replace(sound, **{name: np.zeros(shape, np.float32)})  # type: ignore[arg-type]  # `name` is an array's


def test_a_direction_without_units_is_refused() -> None:
    with pytest.raises(ValueError, match="no axis empty"):
        Direction(np.zeros((1, 3, 0)), np.zeros((1, 0, 0)), np.zeros((1, 0)), np.zeros((1, 0)))


def test_a_layer_has_one_or_two_directions_of_one_size() -> None:
    rng = np.random.default_rng(0)
    one, other = direction(rng, 3, 4), direction(rng, 3, 5, reverse=True)
    with pytest.raises(ValueError, match="one or two directions, not 0"):
        Layer(())
    with pytest.raises(ValueError, match="one or two directions, not 3"):
        Layer((one, one, one))
    with pytest.raises(ValueError, match="differ in size"):
        Layer((one, other))
    assert Layer((one,)).bidirectional is False
    assert Layer((one, one)).bidirectional is True


def test_a_stack_must_fit() -> None:
    lower, upper = single(3, 4).layers[0], single(5, 2).layers[0]
    with pytest.raises(ValueError, match="layer 1 reads 5 features, but layer 0 has 4 outputs"):
        Network((lower, upper))
    with pytest.raises(ValueError, match="at least one layer"):
        Network(())
    assert stacked(3, [4, 2]).output_size == 2


def test_merged_outputs_are_as_wide_as_one_direction() -> None:
    assert bidirectional(3, 4, merge="concat").output_size == 8
    assert bidirectional(3, 4, merge="ave").output_size == 4


def test_directions_and_tensors_are_named_in_the_order_of_final_states() -> None:
    both = bidirectional(3, 4)
    assert [where for where, _, _ in both.directions()] == ["layer 0", "layer 0 reverse"]
    names = [name for name, _ in both.tensors()]
    assert names[:2] == ["layer 0 kernel", "layer 0 recurrent_kernel"]
    assert names[-1] == "layer 0 reverse bias_recurrent"


def test_the_dtype_is_the_widest() -> None:
    network = single()
    assert network.dtype == np.float32
    assert edited(network, bias_input=np.zeros((1, 4))).dtype == np.float64


def test_with_activations_sets_one_a_layer() -> None:
    network = stacked(3, [4, 2])
    changed = network.with_activations(("relu", "linear"))
    assert [layer.activation for layer in changed.layers] == ["relu", "linear"]
    assert [layer.activation for layer in network.layers] == ["tanh", "tanh"]
    with pytest.raises(ValueError, match="argument"):
        network.with_activations(("relu",))


@given(networks())
def test_parameter_counts_by_the_three_formulas(network: Network) -> None:
    separate = concatenated = doubled = 0
    for layer in network.layers:
        I, H, D = layer.input_size, layer.hidden_size, len(layer.directions)
        separate += D * (I * H + H * H + H)
        concatenated += D * ((I + H) * H + H)
        doubled += D * (H * I + H * H + 2 * H)
    counts = {"separate": separate, "concatenated": concatenated, "two biases": doubled}
    assert network.parameter_counts() == counts


def test_no_bias_counts_none() -> None:
    network = edited(single(3, 4), bias_input=np.zeros((1, 4)), bias_recurrent=np.zeros((1, 4)), has_bias=False)
    assert set(network.parameter_counts().values()) == {3 * 4 + 4 * 4}


def exact(seed: int) -> tuple[Array, Array]:
    """Two float32 biases (1, H) on a grid, whose sum is exact."""
    first, second = np.round(np.random.default_rng(seed).uniform(-1, 1, (2, 1, 4)) * 2**14) / 2**14
    return first.astype(np.float32), second.astype(np.float32)


@given(st.integers(0, 999))
def test_the_fingerprint_does_not_depend_on_dtype_or_bias_split(seed: int) -> None:
    first, second = exact(seed)
    two = edited(single(), bias_input=first, bias_recurrent=second)
    one = edited(single(), bias_input=first + second, bias_recurrent=np.zeros_like(first))
    assert two.fingerprint() == one.fingerprint()
    d = two.layers[0].directions[0]
    wide = edited(two, **{name: array.astype(np.float64) for name, array in d.tensors()})
    assert wide.fingerprint() == two.fingerprint()


def test_the_fingerprint_depends_on_every_value() -> None:
    network = single()
    for name, array in network.layers[0].directions[0].tensors():
        for index in np.ndindex(array.shape):
            changed = array.copy()
            changed[index] = np.nextafter(changed[index], np.float32(9))
            assert edited(network, **{name: changed}).fingerprint() != network.fingerprint(), (name, index)


def test_the_fingerprint_depends_on_structure() -> None:
    network = bidirectional()
    layer = network.layers[0]
    forward, backward = layer.directions
    others = [
        replace(layer, activation="relu"),
        replace(layer, merge="sum"),
        replace(layer, time_restored=False),
        replace(layer, directions=(backward, forward)),
        replace(layer, directions=(forward,)),
        replace(layer, directions=(forward, replace(backward, reverse=False))),
    ]
    prints = {Network((other,)).fingerprint() for other in (layer, *others)}
    assert len(prints) == 1 + len(others)
    assert Network((replace(layer, name="another"),)).fingerprint() == network.fingerprint()
