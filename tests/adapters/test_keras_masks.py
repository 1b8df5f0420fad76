"""Which recurrent layers read their inputs through a Masking layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from keras_models import functional, layer, rnn, sequential

from rnnverify.adapters.keras.config import layers_of
from rnnverify.adapters.keras.masks import Mask, masking, masks

MASKING = layer("Masking", "m", mask_value=-1.0)


def found(model: dict[str, Any]) -> dict[tuple[str, ...], Mask]:
    return masks(layers_of(Path("m.h5"), model))


def test_a_mask_reaches_the_next_recurrent_layer() -> None:
    model = sequential(MASKING, layer("Dropout", "d"), rnn("a"), rnn("b"))
    assert found(model) == {("a",): Mask("Masking 'm'", -1.0)}
    assert masking(layers_of(Path("m.h5"), model)) == ("Masking 'm'",)


def test_zero_is_the_value_that_is_left_out() -> None:
    assert found(sequential(layer("Masking", "m"), rnn("a")))[("a",)].value == 0


@pytest.mark.parametrize(
    "model",
    [
        sequential(rnn("a")),
        sequential(MASKING, layer("Dense", "d", units=2), rnn("a")),
        sequential(layer("Masking", "m", mask_value="x"), rnn("a")),
        functional("a", (MASKING, []), (rnn("a"), [[["m", 0, 0, {}]], [["m", 0, 0, {}]]])),
    ],
)
def test_no_mask_that_the_inputs_tell(model: dict[str, Any]) -> None:
    assert found(model) == {}
