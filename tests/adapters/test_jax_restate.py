"""Merge mode and direction of a file that states neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flax_trees import contents, linen

from rnnverify.adapters import restate
from rnnverify.adapters.flax.adapter import read
from rnnverify.assumptions import Assumed, settle
from rnnverify.sides import open_side, parse

BOTH = linen("SimpleCell", scope="forward_rnn/cell") | linen("SimpleCell", scope="backward_rnn/cell")
ONE = linen("GRUCell")


@pytest.mark.parametrize("merge", ["sum", "mul", "ave", "concat"])
def test_another_merge(merge: str) -> None:
    reading = restate(read(contents(BOTH), None), merge, True)
    assert reading.network.layers[0].merge == reading.recipe.layers[0]["merge"] == merge
    assert reading.assumptions[0] == f"the outputs of both directions are merged by {merge}"


def test_another_direction() -> None:
    reading = restate(read(contents(ONE), None), "sum", True)
    (layer,) = reading.network.layers
    assert layer.directions[0].reverse and not layer.time_restored
    assert (reading.recipe.layers[0]["reverse"], reading.recipe.layers[0]["keep_order"]) == (True, False)
    assert reading.assumptions[0] == "runs backward in time"
    assert all(role.startswith("layer 0 reverse ") for role in reading.roles.values())
    back = restate(reading, None, False)
    assert back.network.fingerprint() == read(contents(ONE), None).network.fingerprint()


def test_what_does_not_apply_changes_nothing() -> None:
    one, both = read(contents(ONE), None), read(contents(BOTH), None)
    assert restate(one, "sum", None) is one and restate(both, None, True) is both
    with pytest.raises(ValueError, match="none of concat"):
        restate(both, "max", None)


def test_a_merge_under_which_layers_do_not_fit_is_refused() -> None:
    above = linen("SimpleCell", I=4, scope="above/cell")
    reading = read(contents({f"b/{name}": array for name, array in BOTH.items()} | above), "b+above")
    with pytest.raises(ValueError, match="layer 1 reads 4 features"):
        restate(reading, "sum", None)


def test_it_is_borrowed_or_set(fixtures: Path) -> None:
    keras, flax = fixtures / "wrong" / "go_backwards.keras", fixtures / "simple_cell.msgpack"
    sides = [open_side(parse(str(path), label)) for path, label in ((keras, "A"), (flax, "B"))]
    _, borrowed = settle(sides, Assumed())
    assert borrowed.reading and borrowed.reading.assumptions[0] == "runs backward in time (borrowed from A)"
    assert borrowed.network and np.array_equal(borrowed.network.layers[0].directions[0].reverse, True)
    (alone,) = settle(sides[1:], Assumed(go_backwards=("B",)))
    assert alone.reading and alone.reading.assumptions[0] == "runs backward in time (set by options)"
