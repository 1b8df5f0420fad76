"""When a departure begins, and what that points at."""

from dataclasses import replace

import numpy as np
import pytest
from networks import bidirectional, edited, gated, single, stacked
from observed import NETWORK, against, model

from rnnverify.adequacy import Examiner
from rnnverify.canonical import CellKind, Network
from rnnverify.deviation import Tolerance
from rnnverify.gate_mistakes import forget_bias_not_added
from rnnverify.judge import judge
from rnnverify.mistakes import bias_doubled, kernel_reshaped, recurrent_transposed
from rnnverify.observed import Observed
from rnnverify.reference import run
from rnnverify.timeline import departure
from rnnverify.trace import ZERO, Batch, Run, Trace


def reasons(right: Network, wrong: Network, seed: int = 0) -> tuple[str, ...]:
    rng = np.random.default_rng(seed)
    batch = Batch(ZERO, rng.normal(size=(2, 9, right.input_size)).astype(np.float32))
    sides = []
    for label, network in (("A", right), ("B", wrong)):
        exact = run(network, [batch])
        runs = {
            n: replace(r, y=r.y.astype(np.float32), states=tuple(s.astype(np.float32) for s in r.states))
            for n, r in exact.runs.items()
        }
        sides.append(Observed(label, network, Trace(runs), exact))
    return judge(sides[0], sides[1], Examiner([batch]), Tolerance()).reasons


def wrong(mistake: object, network: Network) -> Network:
    assert callable(mistake)
    made = mistake(network)
    assert isinstance(made, Network)
    return made


@pytest.mark.parametrize("mistake", [kernel_reshaped, bias_doubled])
def test_the_input_side_begins_at_step_0(mistake: object) -> None:
    network = single(3, 4)
    begins = "it begins in layer 0 at step 0, before any state is fed back"
    assert any(reason.startswith(begins) for reason in reasons(network, wrong(mistake, network)))


def test_the_recurrent_side_begins_at_step_1() -> None:
    words = "it begins in layer 0 at step 1, step 0 holds: look at the recurrent kernel"
    assert words in reasons(single(3, 4), wrong(recurrent_transposed, single(3, 4)))
    assert words in reasons(bidirectional(3, 4), wrong(recurrent_transposed, bidirectional(3, 4)))


def test_the_layer_is_the_lowest_that_is_wrong() -> None:
    network = stacked(3, (4, 5))
    whole = wrong(recurrent_transposed, network)
    upper = replace(network, layers=(network.layers[0], whole.layers[1]))
    assert any("it begins in layer 1 at step 1" in reason for reason in reasons(network, upper))
    assert any("it begins in layer 0 at step 1" in reason for reason in reasons(network, whole))


def test_a_departure_from_initial_states_alone() -> None:
    pair = against(model("B", edited(NETWORK, bias_input=NETWORK.layers[0].directions[0].bias_input + 1)))
    budget = pair.budgets[1]
    assert budget and budget.onset == ("layer 0", 0)
    assert "initial states" in departure(replace(budget, onset=None), NETWORK)


def test_where_states_were_not_recorded_the_outputs_tell() -> None:
    def opaque(label: str, y: object) -> Observed:
        values = np.asarray(y, np.float32).reshape(1, -1, 1)
        batch = Batch(ZERO, np.ones((1, values.shape[1], 1), np.float32))
        return Observed(label, None, Trace({ZERO: Run(batch, values)}), None)

    def told(first: list[float], second: list[float]) -> tuple[str, ...]:
        sides = opaque("A", first), opaque("B", second)
        (batch,) = sides[0].trace.batches
        return judge(*sides, Examiner([batch]), Tolerance()).reasons

    assert "it is there at step 0" in told([0, 0, 0], [1, 0, 0])[1]
    assert told([0, 0, 0], [0, 1, 0])[1] == "step 0 agrees, step 1 does not: look at the recurrent kernel"
    assert told([0, 0, 0], [0, 0, 1])[1] == "it drifts in: the first 2 steps agree"


def test_a_forget_bias_acts_from_the_second_step_on() -> None:
    right = gated("lstm")
    words = "it begins in layer 0 at step 1, step 0 holds: look at the recurrent kernel and at the forget gate"
    assert words in reasons(right, wrong(forget_bias_not_added, right))


@pytest.mark.parametrize(("cell", "more"), [("rnn", ""), ("gru", " and at the reset gate")])
def test_what_else_is_fed_back(cell: CellKind, more: str) -> None:
    network = NETWORK if cell == "rnn" else gated(cell)
    d = network.layers[0].directions[0]
    other = edited(network, recurrent_kernel=2 * d.recurrent_kernel)
    assert any(reason.endswith(f"look at the recurrent kernel{more}") for reason in reasons(network, other))
