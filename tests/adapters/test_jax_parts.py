"""Which cells of a file belong together, and what a selector means."""

from __future__ import annotations

import pytest
from flax_trees import contents, linen, nnx

from rnnverify.adapters.flax.adapter import read
from rnnverify.canonical import Array
from rnnverify.errors import FileError, SelectorError

CELL = "SimpleCell"


def cells(*sizes: tuple[int, int], start: int = 0, scope: str = "params/SimpleCell_") -> dict[str, Array]:
    """Numbered siblings, each I -> H."""
    found: dict[str, Array] = {}
    for k, (I, H) in enumerate(sizes):
        found |= linen(CELL, I=I, H=H, scope=f"{scope}{k + start}")
    return found


def shape(arrays: dict[str, Array], selector: str | None = None) -> list[tuple[int, int, int]]:
    """(input size, hidden size, directions) of every layer."""
    reading = read(contents(arrays), selector)
    again = read(contents(arrays), reading.part or None)
    assert again.network.fingerprint() == reading.network.fingerprint()
    return [(each.input_size, each.hidden_size, len(each.directions)) for each in reading.network.layers]


@pytest.mark.parametrize(
    ("sizes", "layers"),
    [
        ([(3, 4), (4, 5)], [(3, 4, 1), (4, 5, 1)]),
        ([(3, 4), (3, 4)], [(3, 4, 2)]),
        ([(3, 4), (3, 4), (8, 5), (8, 5)], [(3, 4, 2), (8, 5, 2)]),
        ([(4, 4), (4, 4)], [(4, 4, 1), (4, 4, 1)]),
        ([(3, 3)] * 12, [(3, 3, 1)] * 12),
    ],
)
def test_numbered_siblings_are_a_stack_or_pairs(
    sizes: list[tuple[int, int]], layers: list[tuple[int, int, int]]
) -> None:
    assert shape(cells(*sizes)) == layers
    (order, *_) = read(contents(cells(*sizes)), None).assumptions
    assert order.startswith("the cells are SimpleCell_0") and "in the order of their numbers" in order


def test_the_order_is_that_of_the_numbers() -> None:
    arrays = cells((4, 5), start=10) | cells((3, 4), start=9)
    assert shape(arrays) == [(3, 4, 1), (4, 5, 1)]
    assert read(contents(arrays), None).part == "SimpleCell_9+SimpleCell_10"
    assert shape(nnx(CELL, I=3, H=4, scope="layers.0.cell") | nnx(CELL, I=4, H=5, scope="layers.1.cell")) == [
        (3, 4, 1),
        (4, 5, 1),
    ]


def test_where_two_arrangements_fit_a_selector_says_which() -> None:
    arrays = cells((4, 4), (4, 4))
    assert shape(arrays, "SimpleCell_0,SimpleCell_1") == [(4, 4, 2)]
    assert shape(arrays, "SimpleCell_1+SimpleCell_0") == [(4, 4, 1), (4, 4, 1)]
    assert shape(arrays, "params/SimpleCell_1") == [(4, 4, 1)]


def test_several_parts_are_listed_ready_to_paste() -> None:
    arrays = linen("GRUCell", I=3, H=4, scope="params/encoder/cell") | linen(
        CELL, I=4, H=2, scope="params/decoder/cell"
    )
    with pytest.raises(SelectorError) as caught:
        read(contents(arrays), None)
    assert str(caught.value) == (
        "model: holds 2 recurrent parts; choose one: model#encoder (GRUCell), model#decoder (SimpleCell), "
        "model#encoder+decoder (stacked in the only order that fits)"
    )
    assert shape(arrays, "encoder") == [(3, 4, 1)] and shape(arrays, "params.decoder.cell") == [(4, 2, 1)]
    reading = read(contents(arrays), "encoder+decoder")
    assert [each.cell for each in reading.network.layers] == ["gru", "rnn"]
    unused = read(contents(arrays), "encoder").unused
    assert set(unused.values()) == {"belongs to the part decoder, not selected"}


def test_siblings_that_do_not_fit_stay_apart() -> None:
    with pytest.raises(SelectorError, match="holds 2 recurrent parts"):
        read(contents(cells((3, 4), (5, 6))), None)


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ("other", "has no recurrent part other; choose one: model#SimpleCell_0"),
        ("SimpleCell_0+", "has no recurrent part without a name"),
        ("SimpleCell_0,SimpleCell_1,SimpleCell_0", "is no pair of cells"),
        ("SimpleCell_0,both", "is no pair of cells"),
        ("SimpleCell_1+SimpleCell_1", "SimpleCell_1 reads 4 features, but SimpleCell_1 gives 5"),
    ],
)
def test_what_a_selector_cannot_mean(selector: str, words: str) -> None:
    both = linen(CELL, scope="both/forward_rnn/cell") | linen(CELL, scope="both/backward_rnn/cell")
    with pytest.raises(FileError, match=words):
        read(contents(cells((3, 4), (4, 5)) | both), selector)
