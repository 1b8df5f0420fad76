"""Values of ONNX tensors, wherever the format lets them lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_files import external, real, tensor
from tf_files import chunk, number, varint

from rnnverify.canonical import Array
from rnnverify.containers.onnx_tensors import stored_tensor
from rnnverify.containers.protobuf import MalformedError, parse
from rnnverify.errors import FileError

MODEL = Path("model.onnx")


def read(data: bytes, path: Path = MODEL) -> Array:
    return stored_tensor(path, parse(data)).read()


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "int64", "int32", "int8", "uint8", "bool", "uint16", "int16", "uint64"]
)
@pytest.mark.parametrize("raw", [True, False])
def test_what_the_onnx_library_writes_is_read(dtype: str, raw: bool) -> None:
    array = np.array([[0, 1, 2.5], [-3, 100, 7]]).clip(0 if dtype[0] in "ub" else -9).astype(dtype)
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    bits = array.view(np.uint16) if dtype == "float16" and not raw else array
    values = array.tobytes() if raw else bits.ravel().tolist()
    if not raw and dtype == "float16":
        written = onnx.TensorProto(dims=array.shape, data_type=kind, name="t", int32_data=values)
    else:
        written = onnx.helper.make_tensor("t", kind, array.shape, values, raw=raw)
    found = read(written.SerializeToString())
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_bfloat16_comes_as_the_float32_of_equal_value() -> None:
    bits = np.array([0x3F80, 0xC000], np.uint16)
    for data in (
        tensor("t", bits, "bfloat16"),
        tensor("t", bits, "bfloat16", chunk(5, varint(0x3F80) + varint(0xC000))),
    ):
        np.testing.assert_array_equal(read(data), np.array([1, -2], np.float32))


def test_numbers_may_be_packed_or_not() -> None:
    array = np.array([1.5, -2], np.float32)
    for values in (real(4, 1.5) + real(4, -2), chunk(4, array.tobytes())):
        np.testing.assert_array_equal(read(tensor("t", array, values=values)), array)
    shape = number(2, 1) + chunk(1, varint(2) + varint(1)) + chunk(9, array.tobytes())
    assert read(shape).shape == (2, 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tensor("t", np.ones(3, np.float32), values=chunk(9, b"12345678")), "8 bytes where its shape wants 12"),
        (tensor("t", np.ones(3, np.float32), values=chunk(4, b"1234")), "has 1 values for its shape"),
        (tensor("t", np.ones(3, np.float32), values=chunk(4, b"12345")), "is cut off"),
        (tensor("t", np.ones(3, np.int64), values=chunk(7, b"\x80")), "is cut off"),
        (tensor("t", np.ones(3, np.int64), values=chunk(7, b"\x80" * 11 + b"\x01")), "longer than 64 bits"),
        (tensor("t", np.ones(3, np.float32), values=b""), "has 0 values for its shape"),
        (tensor("t", np.ones(1, np.float32), "string", chunk(6, b"x")), "is string, which this version does not read"),
        (number(1, 1) + number(2, 99) + chunk(8, b"t"), "is type 99"),
    ],
)
def test_damaged_values_are_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(FileError, match=words) as caught:
        read(data)
    assert str(caught.value).startswith("model.onnx: t ")


@pytest.mark.parametrize("sizes", [(-1,), (1 << 30, 1 << 30), (1,) * 33])
def test_shapes_that_no_array_has_are_refused_before_anything_is_made(sizes: tuple[int, ...]) -> None:
    data = b"".join(number(1, size) for size in sizes) + number(2, 1) + chunk(8, b"t")
    with pytest.raises(MalformedError, match="t has the shape"):
        stored_tensor(MODEL, parse(data))


def test_a_huge_shape_takes_no_memory() -> None:
    with pytest.raises(FileError, match="bytes where its shape wants"):
        read(number(1, 1 << 40) + number(2, 1) + chunk(8, b"t") + chunk(9, b"1234"))


def test_values_in_a_file_beside_the_model_are_read(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"1234" + array.tobytes() + b"more")
    stated = {"location": "data/w.bin", "offset": 4, "length": 24}
    np.testing.assert_array_equal(read(external("w", array, **stated), tmp_path / "model.onnx"), array)
    del stated["length"]
    np.testing.assert_array_equal(read(external("w", array, **stated), tmp_path / "model.onnx"), array)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"location": "../secret"}, "lies in ../secret, outside the folder of the model; which is not opened"),
        ({"location": "a/../../secret"}, "outside the folder"),
        ({"location": "/etc/hostname"}, "lies in /etc/hostname, outside the folder"),
        ({"location": "..\\secret"}, "outside the folder"),
        ({"location": "C:secret"}, "outside the folder"),
        ({}, "lies in no file, outside the folder"),
        ({"location": "link"}, "a link that leads out of the folder of the model"),
        ({"location": "gone.bin"}, "in gone.bin, which is not beside it; copy that file"),
        ({"location": "."}, "which is not beside it"),
        ({"location": "near", "length": 8}, "needs 24 bytes of near, and the model states offset None, length 8"),
        ({"location": "near", "offset": -4}, "states offset -4"),
        ({"location": "near", "offset": 8}, "lie outside the file"),
        ({"location": "near", "offset": "1" * 30}, "states offset"),
    ],
)
def test_no_other_file_is_opened(entries: dict[str, object], words: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(24))
    (folder / "near").write_bytes(bytes(24))
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(FileError, match=words):
        read(external("w", np.zeros((2, 3), np.float32), **entries), folder / "model.onnx")
