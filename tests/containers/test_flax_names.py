"""Names of Flax parameters, however the keys that lead to them are joined."""

from __future__ import annotations

import pytest

from rnnverify.containers.flax_names import are_of_flax, keys_of


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("params/cell/i/kernel", ("params", "cell", "i", "kernel")),
        ("params.cell.i.kernel", ("params", "cell", "i", "kernel")),
        ("['params']['cell']['i']['kernel']", ("params", "cell", "i", "kernel")),
        ("layers.0.dense_i.kernel.value", ("layers", "0", "dense_i", "kernel")),
        (".cell.dense_i.kernel.raw_value", ("cell", "dense_i", "kernel")),
        ("kernel", ("kernel",)),
        ("value", ()),
        ("", ()),
    ],
)
def test_a_name_is_the_keys_that_lead_to_it(name: str, keys: tuple[str, ...]) -> None:
    assert keys_of(name) == keys


def test_who_names_arrays_so() -> None:
    assert are_of_flax(["step", "params/cell/i/kernel"]) and are_of_flax(["head.kernel"])
    assert not are_of_flax(["kernel", "rnn.weight_ih_l0", "i2h.weight", "i2h.bias", "x", "y", ""])
    assert not are_of_flax([])
