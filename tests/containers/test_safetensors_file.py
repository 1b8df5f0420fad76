"""safetensors: what its own writer wrote, and every way in which a header can lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors.numpy import save

from rnnverify.canonical import Array
from rnnverify.containers import safetensors_file
from rnnverify.errors import FileError, UnsupportedError

FIXTURES = Path(__file__).parents[2] / "fixtures"
W = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(path: Path, header: object, data: bytes = bytes(8)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5).filter(lambda name: name != "__metadata__"),
        npst.arrays(st.sampled_from(["<f8", "<f4", "<f2", "<i8", "u1", "?"]), npst.array_shapes(min_dims=0)),
        max_size=4,
    )
)
def test_reads_what_its_own_writer_wrote(tmp_path: Path, arrays: dict[str, Array]) -> None:
    (tmp_path / "m").write_bytes(save(arrays))
    tensors = safetensors_file.read(tmp_path / "m").tensors
    assert tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (tensors[name].dtype, tensors[name].shape) == (array.dtype.name, array.shape)
        assert tensors[name].read().tobytes() == array.tobytes()


def test_reads_a_genuine_file_and_metadata(tmp_path: Path) -> None:
    contents = safetensors_file.read(FIXTURES / "genuine/torch-2.13.0/rnn_bi2l_safetensors/model.safetensors")
    assert contents.framework is None
    assert len(contents.tensors) == 16
    path = write(tmp_path / "m", {"__metadata__": {"format": "pt"}, "w": W})
    assert safetensors_file.read(path).metadata == {"__metadata__": {"format": "pt"}}


def test_bfloat16_comes_as_float32_and_an_unknown_dtype_is_refused_when_read(tmp_path: Path) -> None:
    header = {"b": W | {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    header["f8"] = {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [4, 8]}
    tensors = safetensors_file.read(write(tmp_path / "m", header, b"\x80\x3f\x00\xc0" + bytes(4))).tensors
    assert tensors["b"].dtype == "bfloat16"
    assert tensors["b"].read().tolist() == [1.0, -2.0]
    with pytest.raises(UnsupportedError, match="F8_E4M3"):
        tensors["f8"].read()


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"{", "no sound JSON"),
        (b"[" * 100_000, "no sound JSON"),
        (b'{"w":{},"w":{}}', "no sound JSON"),
        (b"\xff\xfe", "no sound JSON"),
        (b"[]", "no JSON object"),
        ({"w": {"dtype": "F32", "shape": [2]}}, "describes w unsoundly"),
        ({"w": W | {"shape": [-2]}}, "describes w unsoundly"),
        ({"w": W | {"shape": [2.0]}}, "describes w unsoundly"),
        ({"w": W | {"shape": [True, True]}}, "describes w unsoundly"),
        ({"w": W | {"data_offsets": [0, 8, 8]}}, "describes w unsoundly"),
        ({"__metadata__": {"a": 1}, "w": W}, "describes __metadata__ unsoundly"),
        ({"w": W | {"shape": [3]}}, "3 F32 has 8 bytes"),
        ({"w": W | {"data_offsets": [8, 0]}}, "has -8 bytes"),
        ({"w": W | {"data_offsets": [4, 12]}}, "belongs to no tensor"),
        ({"w": W, "v": W}, "or to two"),
        ({"w": W | {"shape": [1], "data_offsets": [0, 4]}}, "take 4 bytes, but 8"),
        ({"w": W | {"shape": [4], "data_offsets": [0, 16]}}, "truncated"),
    ],
)
def test_a_header_that_lies_is_one_clear_error(tmp_path: Path, header: object, found: str) -> None:
    with pytest.raises(FileError, match=found) as caught:
        safetensors_file.read(write(tmp_path / "m", header))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("huge_st_headerlen", "announces a header"),
        ("st_offsets_beyond", "has 1099511627776 bytes"),
        ("trunc_st_90", "truncated"),
    ],
)
def test_broken_files_are_refused(case: str, found: str) -> None:
    with pytest.raises(FileError, match=found):
        safetensors_file.read(FIXTURES / "bad" / case / "model.safetensors")


def test_a_missing_and_a_tiny_file_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        safetensors_file.read(tmp_path / "none")
    (tmp_path / "m").write_bytes(b"abc")
    with pytest.raises(FileError, match="3 bytes"):
        safetensors_file.read(tmp_path / "m")
