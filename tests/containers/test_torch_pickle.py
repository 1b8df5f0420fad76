"""The pickle machine: it describes, and never does."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch_files import Call, Named, Outside, opcodes, pickled, tensor

from rnnverify.containers import torch_pickle
from rnnverify.containers.torch_pickle import Loaded, load
from rnnverify.containers.torch_records import Record, Tensor
from rnnverify.errors import FileError, UnsupportedError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
)


def loaded(data: bytes) -> Loaded:
    return load(io.BytesIO(data), Path("model.pt"))


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_out_as_pickle_reads_them(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    got = loaded(data).value
    # protocols 0 to 2 write bytes as a call, which stays a record
    if b"_codecs" not in data and b"__builtin__" not in data:
        assert got == value


@given(PLAIN, st.data())
def test_a_cut_pickle_is_one_clear_error(value: object, data: st.DataObject) -> None:
    whole = pickle.dumps(value, 4)
    with pytest.raises(FileError, match="truncated or damaged"):
        loaded(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary())
def test_random_bytes_are_read_or_refused_in_one_line(data: bytes) -> None:
    try:
        loaded(data)
    except FileError as error:
        assert "\n" not in str(error)


def test_the_stream_is_left_behind_the_pickle() -> None:
    stream = io.BytesIO(pickled(1) + pickled("two"))
    assert [load(stream, Path("f")).value, load(stream, Path("f")).value] == [1, "two"]


PYTHONS_OWN = [
    ("posix", "system"),
    ("builtins", "eval"),
    ("__builtin__", "map"),
    ("functools", "partial"),
    ("torch.serialization", "os.system"),
    ("collections", "OrderedDict.fromkeys"),
]
OTHERS = [("torch", "load"), ("numpy", "load"), ("user_model", "CharRNN")]


def written(module: str, name: str, then: bytes) -> list[bytes]:
    """Pickles that name something by one opcode or another, and then do something with it."""
    by_stack = b"\x80\x04" + opcodes(module) + opcodes(name) + b"\x93" + then + b"."
    return [pickled(Named(module, name))[:-1] + then + b".", by_stack]


@pytest.mark.parametrize(("module", "name"), PYTHONS_OWN)
def test_what_python_itself_brings_is_refused_by_name_even_where_it_is_only_named(module: str, name: str) -> None:
    for data in (*written(module, name, b""), f"(i{module}\n{name}\n.".encode()):
        with pytest.raises(UnsupportedError, match=f"{module}.{name}") as caught:
            loaded(data)
        assert "torch.save(model.state_dict()" in str(caught.value)


@pytest.mark.parametrize(("module", "name"), [*PYTHONS_OWN, *OTHERS, ("builtins", "__import__")])
def test_a_call_of_what_is_not_torchs_own_is_refused_by_name_however_it_is_written(module: str, name: str) -> None:
    for data in (*written(module, name, b")R"), f"(i{module}\n{name}\n.".encode()):
        with pytest.raises(UnsupportedError, match=f"{module}.{name}, which no file of weights needs"):
            loaded(data)


@pytest.mark.parametrize("make", [b")\x81", b")}\x92"])
def test_an_object_of_any_other_class_is_an_inert_record(make: bytes) -> None:
    for data in written("user_model", "CharRNN", make + opcodes({"lr": 0.1}) + b"b"):
        found = loaded(data)
        assert isinstance(found.value, Record)
        assert (str(found.value.made_by), found.value.state) == ("user_model.CharRNN", {"lr": 0.1})
        assert found.refused_by_torch
        assert found.others == ("user_model.CharRNN",)


def test_protocols_0_and_1_make_objects_by_a_function_of_copyreg() -> None:
    arguments = (Named("user_model", "CharRNN"), Named("__builtin__", "object"), None)
    record = loaded(pickled(Call(Named("copy_reg", "_reconstructor"), arguments))).value
    assert isinstance(record, Record)
    assert str(record.made_by) == "user_model.CharRNN"
    with pytest.raises(FileError, match="no class"):
        loaded(pickled(Call(Named("copy_reg", "_reconstructor"), (1, 2, None))))


def test_an_attribute_is_looked_up_on_torchs_functions_alone() -> None:
    functions = Named("torch._C", "_VariableFunctionsClass")
    for module in ("builtins", "__builtin__"):
        assert isinstance(loaded(pickled(Call(Named(module, "getattr"), (functions, "tanh")))).value, Record)
        for arguments in ((Named("torch", "hub"), "load"), (functions, 1), (functions,)):
            with pytest.raises(FileError, match="its pickle"):
                loaded(pickled(Call(Named(module, "getattr"), arguments)))


def test_torch_is_told_of_its_own_layers_alone() -> None:
    layer = loaded(pickled(Named("torch.nn.modules.rnn", "RNN")))
    assert (layer.refused_by_torch, layer.layers) == ("", ("torch.nn.modules.rnn.RNN",))
    other = loaded(pickled(Named("torch.nn.modules.container", "Sequential")))
    assert (other.refused_by_torch, other.layers) == ("torch.nn.modules.container.Sequential", ())


def test_a_class_with_its_source_is_its_name() -> None:
    found = loaded(pickled(Outside(("module", Named("user_model", "CharRNN"), "model.py", "class CharRNN: ..."))))
    assert str(found.value) == "user_model.CharRNN"
    assert found.refused_by_torch


def test_torchscript_tags_and_lists_are_what_they_hold() -> None:
    tag = Call(Named("torch.jit._pickle", "restore_type_tag"), (["a"], "List[str]"))
    assert loaded(pickled(tag)).value == ["a"]
    named = Call(Named("__torch__.model", "Pair"), (1, 2))
    assert isinstance(loaded(pickled(named)).value, Record)


def test_tensors_outside_are_found_by_their_key_where_there_are_some() -> None:
    w = Tensor("float32", (2,), (1,))
    found = load(io.BytesIO(pickled({"w": Outside("17")})), Path("m.pt"), {"17": w})
    assert found.value == {"w": w}
    with pytest.raises(FileError, match="no storage"):
        load(io.BytesIO(pickled({"w": Outside("18")})), Path("m.pt"), {"17": w})


def test_objects_beside_the_weights_stay_inert() -> None:
    record = loaded(pickled(Call(Named("argparse", "Namespace"), ()))[:-1] + opcodes({"lr": 0.1}) + b"b.").value
    assert isinstance(record, Record)
    assert record.state == {"lr": 0.1}
    assert "0.1" not in repr(record)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (Call(Named("argparse", "Namespace"), ()), "argparse.Namespace"),
        (Call(Named("collections", "OrderedDict"), ()), ""),
    ],
)
def test_says_what_torch_refuses(value: object, names: str) -> None:
    assert loaded(pickled(value)).refused_by_torch == names


def test_python_2_gives_its_dicts_as_pairs() -> None:
    assert loaded(pickled(Call(Named("collections", "OrderedDict"), ([["a", 1]],)))).value == {"a": 1}


def test_a_sparse_tensor_is_described_not_built() -> None:
    size, layout = Call(Named("torch", "Size"), ((3, 2),)), Call(Named("torch.serialization", "_get_layout"), ())
    parts = (tensor("0", 2, (2, 1), storage="LongStorage"), tensor("1", 1, (1,)), size)
    found = loaded(pickled(Call(Named("torch._utils", "_rebuild_sparse_tensor"), (layout, parts)))).value
    assert found == Tensor("float32", (3, 2), oddity="sparse")


@pytest.mark.parametrize(
    "value",
    [
        Call(Named("torch._utils", "_rebuild_tensor_v2"), (1, 0, (2,), (1,))),
        Call(Named("torch._utils", "_rebuild_tensor_v2"), ()),
        Call(Named("torch._utils", "_rebuild_sparse_tensor"), (1, ())),
        Outside(("storage", Named("torch", "Size"), "0", "cpu", 4)),
        Outside(("storage", Named("torch", "FloatStorage"), "0", "cpu", -4)),
        Outside(("file", "/etc/passwd")),
        Outside(None),
    ],
)
def test_what_contradicts_itself_is_one_clear_error(value: object) -> None:
    with pytest.raises(FileError, match="its pickle"):
        loaded(pickled(value))


@pytest.mark.parametrize(
    "data",
    [
        b".",
        b"0.",
        b"R.",
        b"K\x01K\x02R.",
        b"K\x01(K\x02e.",
        b"K\x01}b.",
        b"h\x07.",
        b"K\x01(K\x02u.",
        b"Pname\n.",
        b"}(K\x01u.",
    ],
)
def test_a_program_that_makes_no_sense_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(FileError, match="its pickle"):
        loaded(data)


def test_deep_nesting_and_billion_laughs_are_harmless() -> None:
    deep = loaded(b"\x80\x02}(" + b")" + b"\x85" * 100_000 + b"K\x01u.").value
    assert isinstance(deep, dict)
    assert isinstance(next(iter(deep)), Record)  # not the tuple, whose hash would exhaust the stack
    laughs = b")" + b"".join(b"q%c" % k + b"h%c" % k * 11 + b"\x85" * 3 for k in range(12))
    assert loaded(b"\x80\x02" + laughs + b".").value is not None


def test_a_pickle_takes_a_bounded_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pickle, "_MAX_STEPS", 1000)
    again = b"ccollections\nOrderedDict\nh\x00\x85R0"  # copies the memo's list of pairs
    pairs = b"\x80\x02" + opcodes(([[str(k), k] for k in range(100)],)).removesuffix(b"t").removeprefix(b"(")
    assert loaded(pairs + b".").value is not None
    for data in (b"\x80\x02" + b"N" * 1001 + b".", pairs + b"q\x00" + again * 10 + b"."):
        with pytest.raises(FileError, match="more than 1000 steps"):
            loaded(data)
