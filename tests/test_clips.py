"""A clip of the cell state counts where cell states come near it, and is only spoken of where none does."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from networks import batches, gated, mixed
from observed import EXACT, model

from rnnverify.adequacy import Examiner
from rnnverify.canonical import Network
from rnnverify.clips import largest_cells, without_idle_clips
from rnnverify.comparison import Pair
from rnnverify.judge import judge
from rnnverify.trace import ZERO, Batch

PLAIN = gated("lstm")
GIVEN = batches(PLAIN)
PEAK = float(largest_cells(PLAIN, GIVEN)[0])


def clipped(at: float, network: Network = PLAIN) -> Network:
    layers = (replace(layer, gating=replace(layer.gating, cell_clip=at)) for layer in network.layers)
    return Network(tuple(layers))


def judged(a: Network, b: Network, given_batches: tuple[Batch, ...] = GIVEN) -> Pair:
    return judge(model("A", a, given_batches), model("B", b, given_batches), Examiner(given_batches), EXACT)


def test_a_clip_that_nothing_comes_near_is_a_remark() -> None:
    for pair, words in (
        (judged(PLAIN, clipped(3 * PEAK)), f"B clips cell states at {3 * PEAK:g}, A does not"),
        (judged(clipped(3 * PEAK), PLAIN), f"A clips cell states at {3 * PEAK:g}, B does not"),
        (judged(clipped(3 * PEAK), clipped(2 * PEAK)), f"A clips cell states at {3 * PEAK:g}, B at {2 * PEAK:g}"),
    ):
        assert (pair.verdict, pair.weight_reasons) == ("EQUIVALENT", ())
        assert pair.remarks == (f"layer 0: {words}; on these inputs none exceeds {PEAK:.2g}",)
    same = judged(clipped(3 * PEAK), clipped(3 * PEAK))
    assert (same.verdict, same.remarks) == ("IDENTICAL", ())


def test_a_clip_that_states_come_near_is_a_difference() -> None:
    near = judged(PLAIN, clipped(1.05 * PEAK))
    assert near.verdict == "DIFFERENT"
    assert near.reasons[0].startswith("the deviation is small on these inputs")
    assert near.weight_reasons == (f"layer 0: cell clip none against {1.05 * PEAK:g}",)
    reached = judged(PLAIN, clipped(0.5 * PEAK))
    assert reached.verdict == "DIFFERENT"
    assert "do not follow from the weights of A" in reached.reasons[0]
    assert reached.remarks == ()


def test_longer_inputs_may_come_near() -> None:
    longer, short = GIVEN[:1], (GIVEN[0].of(slice(None), slice(2)),)
    at = float(largest_cells(PLAIN, longer)[0])
    assert at > 1.2 * float(largest_cells(PLAIN, short)[0])
    assert judged(PLAIN, clipped(at), short).verdict == "EQUIVALENT"
    assert judged(PLAIN, clipped(at), longer).verdict == "DIFFERENT"


def test_the_largest_cell_state_of_each_layer() -> None:
    network = mixed()
    found = largest_cells(network, batches(network))
    assert found.shape == (3,)
    assert found[0] > 0
    assert list(found[1:]) == [0, 0]
    last = model("A", network, batches(network)).reference
    assert last is not None
    assert found[0] >= max(np.abs(c).max() for run in last.runs.values() for c in run.c_n)


def test_states_that_are_not_finite_are_near_every_clip() -> None:
    bad = Batch(ZERO, np.full((1, 2, 3), np.nan))
    _, other, words = without_idle_clips(PLAIN, clipped(1e9), [bad], ("A", "B"))
    assert (other.layers[0].gating.cell_clip, words) == (1e9, ())


def test_other_cells_and_depths_have_nothing_to_compare() -> None:
    gru = gated("gru")
    assert without_idle_clips(gru, clipped(3.0, gru), GIVEN, ("A", "B"))[2] == ()
    assert without_idle_clips(mixed(), PLAIN, GIVEN, ("A", "B"))[2] == ()


@given(st.floats(0.05, 20), st.integers(0, 99))
def test_a_clip_is_never_idle_where_it_acts(at: float, seed: int) -> None:
    plain = gated("lstm", seed=seed)
    other = clipped(at, plain)
    sides = (model("A", plain, GIVEN).trace, model("B", other, GIVEN).trace)
    idle = without_idle_clips(plain, other, GIVEN, ("A", "B"))[2]
    if idle:
        assert all(np.array_equal(sides[0].runs[name].y, sides[1].runs[name].y) for name in sides[0].runs)
