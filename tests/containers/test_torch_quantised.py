"""Quantised recurrent layers are found by name wherever a file keeps them, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch_files import tensor, write_zip

from rnnverify.containers import torch_zip
from rnnverify.containers.torch_quantised import quantised
from rnnverify.containers.torch_records import Global, MalformedError, Record
from rnnverify.errors import UnsupportedError

FIXTURES = Path(__file__).parents[2] / "fixtures"


def module(modules: dict[str, object], **attributes: object) -> Record:
    state = {"_parameters": {}, "_buffers": {}, "_modules": modules, **attributes}
    return Record(Global("user", "Net"), (), state)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"encoder._all_weight_values.0.param": None, "fc.scale": None}, ("encoder",)),
        ({"model": {"a.b._all_weight_values.0.param": None, "c._packed_weight_ih": None}}, ("a.b", "c")),
        ({"_all_weight_values.0.param": None}, ("",)),
        ([module({"lstm": module({"_all_weight_values": module({})})})], ("lstm",)),
        ({"m": module({"cell": module({}, _packed_weight_ih=None)})}, ("cell",)),
        ({"my_all_weight_values.0": None, "all_weight_values": None, 3: None}, ()),
        (module({"lstm": module({})}), ()),
        (None, ()),
    ],
)
def test_names_are_found(value: object, names: tuple[str, ...]) -> None:
    assert quantised(value) == names


def test_what_holds_itself_ends() -> None:
    state: dict[str, object] = {"rnn._packed_weight_ih": None}
    state["self"] = state
    assert quantised(state) == ("rnn",)
    inner: dict[str, object] = {}
    endless = module(inner)
    inner["again"] = endless
    with pytest.raises(MalformedError):
        quantised(endless)


def test_the_genuine_file_names_its_layer() -> None:
    with pytest.raises(UnsupportedError, match="keeps the weights of encoder as quantised integers"):
        torch_zip.read(FIXTURES / "quantised.pt")


def test_one_beside_sound_weights_is_left_aside_and_said(tmp_path: Path) -> None:
    state = {"rnn.weight_ih_l0": tensor("0", 2, (1, 2)), "enc._packed_weight_ih": None}
    contents = torch_zip.read(write_zip(tmp_path / "m.pt", state, {"0": bytes(8)}))
    assert contents.metadata["quantised"] == ("enc",)
    assert "left aside: 1 recurrent layer(s) whose weights are quantised (enc)" in contents.notes
