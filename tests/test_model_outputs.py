"""The outputs of whole models: held against the dense layers, counted where they decide otherwise."""

from dataclasses import replace

import engines
import numpy as np
import pytest
from networks import batches, bidirectional
from observed import BATCHES, NETWORK, model, nudged
from test_around import head, in_float32

from rnnverify import reference
from rnnverify.adequacy import Examiner
from rnnverify.around import NOTHING, Around, Dense, Embedding, Head
from rnnverify.behind import FINAL, LAST, read_at
from rnnverify.canonical import Array, Merge, Network
from rnnverify.comparison import Pair
from rnnverify.deviation import Tolerance
from rnnverify.judge import judge
from rnnverify.observed import Observed
from rnnverify.trace import Trace

HEAD = head(4, 3, activations=("softmax",))


def with_head(side: Observed, made: Head = HEAD, ran: Head | None = None) -> Observed:
    runs = {n: replace(run, model_out=in_float32(ran or made, run.y)) for n, run in side.trace.runs.items()}
    return replace(side, trace=replace(side.trace, runs=runs), around=Around(head=made))


def judged(a: Observed, b: Observed, tolerance: Tolerance | None = None) -> Pair:
    return judge(a, b, Examiner(BATCHES), tolerance or Tolerance())


def other_head(by: float) -> Head:
    (dense,) = HEAD.layers
    kernel = dense.kernel.copy()
    kernel[2, 1] += np.float32(by)
    return Head((Dense(kernel, dense.bias, dense.activation),))


def test_equal_models_pass_and_say_how_often_they_decide_alike() -> None:
    pair = judged(with_head(model("A", NETWORK)), with_head(model("B", NETWORK)))
    assert pair.verdict == "IDENTICAL" and pair.model is not None
    assert (pair.model.rule, pair.model.flips, pair.model.decisions) == ("argmax", 0, 20)
    assert [t.name for t in pair.tensors][-2:] == ["dense kernel", "dense bias"] and 0 < max(pair.model.used) < 1


def test_another_head_is_a_difference_though_the_recurrent_parts_are_equal() -> None:
    pair = judged(with_head(model("A", NETWORK)), with_head(model("B", NETWORK), other_head(3.0)))
    assert pair.verdict == "DIFFERENT" and pair.headline.deviation.max_abs == 0
    assert pair.model is not None and pair.model.flips > 0
    assert any("dense kernel: 1 of 12 weights differ" in reason for reason in pair.reasons)


def test_outputs_that_the_dense_layers_do_not_explain() -> None:
    pair = judged(with_head(model("A", NETWORK)), with_head(model("B", NETWORK), ran=other_head(1e-3)))
    assert pair.verdict == "DIFFERENT"
    assert pair.reasons == ("outputs of B do not follow from its states by the dense layers of A, even with rounding",)


def test_a_tolerance_counts_for_the_outputs_of_the_model_too() -> None:
    a, b = with_head(model("A", NETWORK)), with_head(model("B", NETWORK), other_head(3.0))
    assert judged(a, b, Tolerance(atol=1e-3)).verdict == "DIFFERENT"
    assert judged(a, b, Tolerance(atol=1.0)).verdict == "CLOSE"


def test_without_dense_layers_on_both_sides_nothing_is_said() -> None:
    assert judged(with_head(model("A", NETWORK)), model("B", NETWORK)).model is None
    assert judged(model("A", NETWORK), model("B", nudged(0.1))).model is None


@pytest.mark.parametrize(("change", "verdict"), [(0.0, "IDENTICAL"), (1e-6, "DIFFERENT")])
def test_tables_are_compared_bit_for_bit(change: float, verdict: str) -> None:
    def embedded(side: Observed, by: float) -> Observed:
        table: Array = np.ones((5, 3), np.float32) + np.float32(by)
        return replace(side, around=Around(embedding=Embedding(table)))

    pair = judged(embedded(model("A", NETWORK), 0), embedded(model("B", NETWORK), change))
    assert pair.verdict == verdict and pair.tensors[-1].name == "embedding table"


def last_alone(side: Observed, ran: Head = HEAD, at: str = LAST) -> Observed:
    """A recording of `side` by a model that returns no sequences."""
    top = side.network and side.network.layers[-1]
    assert top
    runs = {}
    for name, run in side.trace.runs.items():
        read = read_at(at, top, run)
        assert read is not None
        runs[name] = replace(run, model_out=in_float32(ran, read))
    return replace(side, network=None, reference=None, trace=replace(side.trace, runs=runs), around=NOTHING)


@pytest.mark.parametrize("turned", [False, True])
def test_the_last_step_alone_is_compared(turned: bool) -> None:
    sides = with_head(model("A", NETWORK)), last_alone(model("B", NETWORK))
    pair = judged(*(sides[::-1] if turned else sides))
    assert pair.verdict in ("IDENTICAL", "EQUIVALENT") and pair.model is not None
    assert (pair.model.at, pair.model.flips, pair.model.decisions) == (LAST, 0, 4) and 0 < max(pair.model.used) < 1
    assert pair.model.headline.deviation.compared == 2 * 3


def test_the_last_step_of_another_head_is_a_difference() -> None:
    (dense,) = HEAD.layers
    opposite = Head((replace(dense, kernel=-dense.kernel, bias=-dense.bias),))
    pair = judged(with_head(model("A", NETWORK)), last_alone(model("B", NETWORK), opposite))
    assert pair.verdict == "DIFFERENT" and pair.model is not None
    assert 0 < pair.model.flips <= pair.model.decisions == 4
    assert pair.reasons == ("outputs of B do not follow from its states by the dense layers of A, even with rounding",)
    pair = judged(with_head(model("A", NETWORK)), last_alone(model("B", NETWORK), other_head(1e-4)))
    assert pair.verdict == "DIFFERENT" and pair.model is not None and pair.model.flips == 0


def test_another_step_than_the_last_is_a_difference() -> None:
    a, b = with_head(model("A", NETWORK)), last_alone(model("B", NETWORK))
    runs = {n: replace(run, model_out=in_float32(HEAD, run.y[:, -2:-1])) for n, run in b.trace.runs.items()}
    assert judged(a, replace(b, trace=replace(b.trace, runs=runs))).verdict == "DIFFERENT"


def test_a_tolerance_counts_for_the_last_step_too() -> None:
    a, b = with_head(model("A", NETWORK)), last_alone(model("B", NETWORK), other_head(1e-3))
    assert judged(a, b, Tolerance(atol=1e-6)).verdict == "DIFFERENT"
    assert judged(a, b, Tolerance(atol=1e-2)).verdict == "CLOSE"


@pytest.mark.parametrize("merge", ["concat", "sum"])
@pytest.mark.parametrize("at", [LAST, FINAL])
def test_either_end_of_both_directions_is_told(at: str, merge: Merge) -> None:
    network = bidirectional(3, 4, merge=merge)
    made = head(network.output_size, 3, activations=("softmax",))
    given = batches(network)

    def one(label: str) -> Observed:
        runs = engines.run(network, given, "split").runs
        return Observed(label, network, Trace(runs), reference.run(network, given))

    pair = judge(with_head(one("A"), made), last_alone(one("B"), made, at), Examiner(given), Tolerance())
    assert pair.verdict in ("IDENTICAL", "EQUIVALENT") and pair.model is not None and pair.model.at == at
    wrong = head(network.output_size, 3, activations=("softmax",), seed=1)
    pair = judge(with_head(one("A"), made), last_alone(one("B"), wrong, at), Examiner(given), Tolerance())
    assert pair.verdict == "DIFFERENT"


def test_outputs_of_states_that_were_not_recorded_are_no_pass() -> None:
    network, dense = bidirectional(5, 6, seed=3, merge="sum"), head(6, 3, activations=("softmax",))
    given = batches(network, 4, 9)

    def side(label: str, network_of: Network | None, around: Around, states: bool) -> Observed:
        runs = {
            name: replace(
                run,
                model_out=in_float32(dense, np.asarray(run.y)[:, -1:]),
                states=run.states if states else (),
            )
            for name, run in model(label, network, given).trace.runs.items()
        }
        return replace(model(label, network, given), network=network_of, around=around, trace=Trace(runs))

    known = side("B", network, Around(head=dense, reads_final=True), states=True)
    pair = judge(side("A", None, NOTHING, states=False), known, Examiner(given), Tolerance())
    assert pair.verdict == "INCONCLUSIVE" and pair.model is None
    assert "what they read, the last states, was not recorded" in pair.reasons[0]
