"""MessagePack of Flax: what is in it is read, and what is not Flax's is refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from flax_files import array_bytes, extension, packed
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rnnverify.containers import flax_msgpack, form_of, open_model
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError


def opened(folder: Path, data: bytes) -> Contents:
    path = folder / "model.msgpack"
    path.write_bytes(data)
    return flax_msgpack.read(path)


def test_a_file_of_flax_is_read(fixtures: Path) -> None:
    contents = open_model(fixtures / "simple_cell.msgpack")
    assert (contents.form, contents.framework, contents.writer) == ("Flax msgpack", "flax", "Flax")
    shapes = {name: tensor.shape for name, tensor in contents.tensors.items()}
    assert shapes == {"params/cell/i/kernel": (5, 8), "params/cell/i/bias": (8,), "params/cell/h/kernel": (8, 8)}
    other = open_model(fixtures / "simple_rnn.h5")
    kernel = next(tensor.read() for name, tensor in other.tensors.items() if name.endswith("cell/kernel"))
    assert np.array_equal(contents.tensors["params/cell/i/kernel"].read(), kernel)


@given(
    array=hnp.arrays(
        st.sampled_from(["float32", "float64", "float16", "int32", "uint8", "bool"]),
        hnp.array_shapes(min_dims=0, min_side=0, max_dims=5),
    )
)
def test_every_array_comes_back(array: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    contents = opened(tmp_path_factory.mktemp("any"), packed({"a": {"b": array}}))
    (tensor,) = contents.tensors.values()
    values = tensor.read()
    assert (tensor.name, tensor.shape, tensor.dtype) == ("a/b", array.shape, array.dtype.name)
    assert values.dtype == array.dtype and values.tobytes() == array.tobytes()


def test_other_leaves_are_left_out_and_lists_are_numbered(tmp_path: Path) -> None:
    one, two = np.ones(2, np.float32), np.arange(3, dtype=np.float32)
    tree = {"step": 3, "name": "x", "none": None, "layers": [{"k": one}, {"k": two}], 7: {"k": two}}
    contents = opened(tmp_path, packed(tree))
    assert list(contents.tensors) == ["layers/0/k", "layers/1/k", "7/k"]
    scalar = {"a": extension(np.asarray(2.5), code=3), "c": msgpack.ExtType(2, b"\x92\x01\x02"), "k": one}
    contents = opened(tmp_path, packed(scalar))
    assert contents.tensors["a"].read() == 2.5 and "c" not in contents.tensors


def test_bfloat16_comes_as_the_float32_of_equal_value(tmp_path: Path) -> None:
    stored = np.array([0x3F80, 0xC000], np.uint16)
    tensor = opened(tmp_path, packed({"a": extension(stored, "bfloat16")})).tensors["a"]
    assert tensor.dtype == "bfloat16" and tensor.read().tolist() == [1.0, -2.0]


def chunked(shape: object, *parts: object) -> dict[str, object]:
    numbered = {str(k): part for k, part in enumerate(parts)}
    return {"a": {"__msgpack_chunked_array__": True, "shape": shape, "chunks": numbered}}


def test_an_array_in_chunks_is_joined(tmp_path: Path) -> None:
    whole = np.arange(12, dtype=np.float32)
    tree = chunked({"0": 3, "1": 4}, whole[:5], whole[5:10], whole[10:])
    tensor = opened(tmp_path, packed(tree)).tensors["a"]
    assert tensor.shape == (3, 4) and np.array_equal(tensor.read(), whole.reshape(3, 4))


@pytest.mark.parametrize(
    "tree",
    [
        chunked({"0": 3, "1": 4}, np.ones(5, np.float32)),
        chunked({"0": 2}, np.ones(1, np.float32), np.ones(1)),
        chunked({"0": 2}, np.ones(2, np.float32), "text"),
        chunked({"0": "2"}, np.ones(2, np.float32)),
        chunked({"0": 0}),
        chunked(3, np.ones(3)),
        {"a": {"__msgpack_chunked_array__": True}},
    ],
)
def test_chunks_that_make_up_no_array_are_refused(tree: object, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="a is kept in chunks that do not make up an array"):
        opened(tmp_path, packed(tree))


F = np.ones(4, np.float32)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packed({"a": F})[:-3], "no intact MessagePack of Flax"),
        (packed({"a": F}) + b"\x01", "no intact MessagePack of Flax"),
        (packed({"a": extension(F, shape=(5,))}), "an array of shape .5. and dtype float32 in 16 bytes"),
        (packed({"a": extension(F, shape=(2**40, 2**40))}), "in 16 bytes"),
        (packed({"a": extension(F, shape=(-4,))}), "an array of shape"),
        (packed({"a": extension(F, "object")}), "dtype object"),
        (packed({"a": extension(F, "V4")}), "dtype V4"),
        (packed({"a": msgpack.ExtType(1, b"")}), "an array without its shape"),
        (packed({"a": msgpack.ExtType(1, b"\x93")}), "an array without its shape"),
        (packed({"a": msgpack.ExtType(1, b"\x01\x02")}), "no intact MessagePack"),
        (packed({"a": msgpack.ExtType(1, array_bytes(F)[:-1])}), "in 15 bytes"),
        (packed({"a": [[0] * 1000] * 1100}), "more than 1048576 values"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "no intact MessagePack"),
        (b"\x81\xa1a\xdf\xff\xff\xff\xff", "no intact MessagePack"),
        (b"\x81\xa1a" + b"\x91" * 5000 + b"\x01", "no intact MessagePack"),
        (b"\x82\xa1a\x01\x91\x01\x02", "no intact MessagePack"),
        (packed({"1": F, 1: F}), "holds two arrays under 1"),
    ],
)
def test_what_flax_does_not_write_is_refused_in_one_sentence(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=words) as caught:
        opened(tmp_path, data)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("data", [b"\x81\xa6params\x80", b"\xde\x00\x11\xa6params", b"\x82\xd9\x28" + b"a" * 40])
def test_its_first_bytes_tell_it(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(data)
    assert form_of(path) == "flax_msgpack"
