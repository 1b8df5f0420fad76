"""What gated cells leave open: set by options, borrowed from another side, or the framework's default."""

from dataclasses import replace

import numpy as np
import pytest
from networks import edited, gated

from rnnverify.adapters.reading import Open, Reading, Recipe
from rnnverify.assumptions import Assumed, settle
from rnnverify.assumptions.gates import said_again, settle_gates
from rnnverify.canonical import Gating, Layer, Network
from rnnverify.containers import FrameworkName
from rnnverify.errors import OptionError
from rnnverify.sides import Opened, parse
from rnnverify.trace import Trace

GRU = replace(gated("gru", 4).layers[0], gating=Gating(reset_after=False))
LSTM = edited(gated("lstm", 4), bias_recurrent=np.zeros((4, 4), np.float32)).layers[0]


def side(label: str, *layers: Layer, leaves: tuple[Open, ...] = (), framework: FrameworkName = "keras") -> Opened:
    reading = Reading(Network(layers), Recipe(framework, (), {}), "rnn", True, {}, assumptions=("one more",))
    return Opened(parse(f"{label}.h5", label), None, replace(reading, open=frozenset(leaves)), None)


def gates(settled: Opened) -> list[str]:
    assert settled.network
    return [layer.gating.activation for layer in settled.network.layers]


def forget_bias(settled: Opened) -> set[float]:
    assert settled.network
    return {float(b) for layer in settled.network.layers for d in layer.directions for b in d.bias_recurrent[1]}


def words(settled: Opened) -> str:
    assert settled.reading
    return "; ".join(settled.reading.assumptions)


def hard(layer: Layer) -> Layer:
    return replace(layer, gating=Gating("hard_sigmoid", reset_after=False))


def test_a_gate_activation_is_set_borrowed_or_the_default() -> None:
    a = side("A", GRU, leaves=("gate_activation",))
    assert gates(settle_gates([a], ["A=hard_sigmoid"], (), ())[0]) == ["hard_sigmoid"]
    assert gates(settle_gates([a], ["keras2_hard_sigmoid"], (), ())[0]) == ["keras2_hard_sigmoid"]
    borrowed = settle_gates([a, side("B", hard(LSTM), framework="torch")], (), (), ())
    assert gates(borrowed[0]) == ["hard_sigmoid"] and words(borrowed[1]) == "one more"
    assert words(borrowed[0]) == (
        "gate activation hard_sigmoid: not in the file, borrowed from B "
        "(--gate-activation A=... sets another); one more"
    )
    (default,) = settle_gates([a], (), (), ())
    assert gates(default) == ["sigmoid"]
    assert words(default).startswith("gate activation sigmoid: not in the file, the framework's default")


def test_a_side_of_another_depth_lends_nothing() -> None:
    a, b = side("A", GRU, leaves=("gate_activation",)), side("B", hard(LSTM), hard(LSTM))
    assert gates(settle_gates([a, b], (), (), ())[0]) == ["sigmoid"]


def test_the_form_of_a_gru_is_settled_alone() -> None:
    a = side("A", GRU, leaves=("reset",))
    (settled,) = settle([a], Assumed(gru_resets=("after",)))
    assert settled.network and settled.network.layers[0].gating.reset_after
    assert "reset gate after: set by --gru-reset" in words(settled)
    other = side("B", replace(GRU, gating=Gating()))
    assert "reset gate after: not in the file, borrowed from B" in words(settle([a, other], Assumed())[0])


def test_a_forget_bias_lies_in_the_recurrent_bias_and_is_borrowed_from_cells_that_add_one() -> None:
    a = side("A", LSTM, leaves=("forget_bias",), framework="tensorflow")
    before = a.network.layers[0].directions[0] if a.network else None
    (settled,) = settle_gates([a], (), (), ["A=1"])
    assert forget_bias(settled) == {1.0} and "forget bias 1: set by --forget-bias" in words(settled)
    assert settled.network and before
    after = settled.network.layers[0].directions[0]
    assert (after.bias_input == before.bias_input).all() and (after.bias_recurrent[0] == before.bias_recurrent[0]).all()
    assert "forget bias 0: not in the file, the framework's default" in words(settle_gates([a], (), (), ())[0])
    (stating,) = settle_gates([side("B", LSTM, leaves=("forget_bias",))], (), (), ["0.5"])
    assert stating.reading
    for adds, lent in ((True, {0.5}), (False, forget_bias(a))):
        b = replace(stating, reading=replace(stating.reading, open=frozenset(), adds_forget_bias=adds))
        assert forget_bias(settle_gates([a, b], (), (), ())[0]) == lent
    differ = np.array([[0, 0, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    one_each = edited(Network((LSTM,)), bias_recurrent=differ).layers[0]
    b = side("B", one_each)
    assert b.reading
    b = replace(b, reading=replace(b.reading, adds_forget_bias=True))
    assert forget_bias(settle_gates([a, b], (), (), ())[0]) == {0.0}


def test_coupled_gates_stay_opposite_under_a_forget_bias() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 4, 4)).astype(np.float32)
    kernel[0] = -kernel[1]
    coupled = edited(Network((LSTM,)), kernel=kernel).layers[0]
    for layer, wanted in ((coupled, -0.5), (LSTM, 0.0)):
        (settled,) = settle_gates([side("A", layer, leaves=("forget_bias",))], (), (), ["0.5"])
        assert settled.network
        bias = settled.network.layers[0].directions[0].bias_recurrent
        assert (bias[0] == wanted).all() and (bias[1] == 0.5).all() and not bias[2:].any()


@pytest.mark.parametrize(
    ("assumed", "said"),
    [
        (Assumed(gate_activations=("sine",)), "--gate-activation sine: wanted one of tanh"),
        (Assumed(gate_activations=("B=hard_sigmoid",)), "--gate-activation B=hard_sigmoid: B.h5 states sigmoid"),
        (Assumed(gate_activations=("C=sigmoid",)), "C.npz has no gate activation to set"),
        (Assumed(gate_activations=("D=sigmoid",)), "the sides are A, B, C"),
        (Assumed(gru_resets=("B=before",)), "--gru-reset B=before: B.h5 has no reset gate to set"),
        (Assumed(gru_resets=("later",)), "--gru-reset later: wanted before or after"),
        (Assumed(gru_resets=("A=after",)), "--gru-reset A=after: A.h5 states before"),
        (Assumed(forget_biases=("1",)), "--forget-bias 1: no file leaves that open"),
        (Assumed(forget_biases=("A=nan",)), "--forget-bias A=nan: wanted a number"),
        (Assumed(forget_biases=("A=x",)), "--forget-bias A=x: wanted a number"),
    ],
)
def test_options_that_make_no_sense(assumed: Assumed, said: str) -> None:
    sides = [side("A", GRU, leaves=("gate_activation",)), side("B", LSTM)]
    sides.append(Opened(parse("C.npz", "C"), None, None, Trace({})))
    with pytest.raises(OptionError, match=said):
        settle(sides, assumed)


def test_what_a_file_states_may_be_said_again() -> None:
    sides = [side("A", GRU, leaves=("gate_activation",)), side("B", LSTM)]
    assert gates(settle(sides, Assumed(gate_activations=("B=sigmoid", "A=hard_sigmoid")))[1]) == ["sigmoid"]
    network = Network((hard(GRU),))
    assert said_again(sides, network) == (("A=hard_sigmoid",), (), ())


def test_four_gates_that_happen_to_be_opposite_are_two_gates_to_a_forget_bias() -> None:
    kernel = LSTM.directions[0].kernel.copy()
    kernel[0] = -kernel[1]
    added = np.zeros((4, 4), np.float32)
    added[1] = 1  # as a BasicLSTMCell adds it: to the forget gate alone
    layer = edited(Network((LSTM,)), kernel=kernel, bias_recurrent=added).layers[0]
    (settled,) = settle_gates([side("A", layer, leaves=("forget_bias",), framework="tensorflow")], (), (), ("2",))
    assert settled.network
    assert settled.network.layers[0].directions[0].bias_recurrent[:, 0].tolist() == [0, 2, 0, 0]
