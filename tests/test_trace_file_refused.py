"""Trace files that are damaged, lie, or do not fit together: each is refused in one sentence, never unpickled."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rnnverify.errors import FileError
from rnnverify.trace_file import is_trace, load

x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
y = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
h0 = np.ones((1, 2, 4), np.float32)


def written(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "t.npz", **arrays)  # type: ignore[arg-type]
    return folder / "t.npz"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": x}, "has no array 'y'"),
        ({"y": y}, "has no array 'x'"),
        ({"x": x, "y": y[:, :2]}, "x has 2 sequences of 3 steps, y 2 of 2"),
        ({"x": x, "y": y[:1]}, "x has 2 sequences of 3 steps, y 1 of 3"),
        ({"x": x, "y": y[:, 0]}, r"y has shape \(2, 4\)"),
        ({"x": x[0], "y": y}, r"x has shape \(3, 2\)"),
        ({"x": x, "y": y[..., None]}, r"y has shape \(2, 3, 4, 1\)"),
        ({"x": x, "y": y[:, :, :0]}, "no axis empty"),
        ({"x": x[:0], "y": y[:0]}, "no axis empty"),
        ({"x": x, "y": y.astype(int)}, "dtype int64"),
        ({"x": x.astype(complex), "y": y}, "dtype complex128"),
        ({"x": x, "y": np.array("text")}, "dtype <U4"),
        ({"x": x, "y": y, "h_n": y[:, -1]}, r"h_n has shape \(2, 4\)"),
        ({"x": x, "y": y, "h_n": y[None, :1, -1]}, r"h_n\[0\] has shape \(1, 4\)"),
        ({"x": x, "y": y, "h_n_0": y}, r"h_n\[0\] has shape \(2, 3, 4\)"),
        ({"x": x, "y": y, "h_n": h0.astype(int)}, r"h_n\[0\]"),
        ({"x": x, "y": y, "h_n": h0[:, :, :0]}, r"h_n\[0\] has shape \(2, 0\)"),
        ({"x": x, "y": y, "states_0": y[:, :2]}, r"states_0 has shape \(2, 2, 4\)"),
        ({"x": x, "y": y, "states_0": h0[0]}, r"states_0 has shape \(2, 4\)"),
        ({"x": x, "y": y, "states_0": y.astype(int)}, "states_0 has shape"),
        ({"x": x, "y": y, "h0": h0[:, :1], "y_from_h0": y}, r"h0\[0\] has shape \(1, 4\)"),
        ({"x": x, "y": y, "h0": h0, "y_from_h0": y[:, :1]}, "y_from_h0 2 of 1"),
        ({"x": x, "y": y, "x_from_h0": x[:1], "h0": h0, "y_from_h0": y}, "x_from_h0 has 1 sequences"),
        ({"x": x, "y": y, "provenance": "{"}, "its provenance is no JSON"),
        ({"x": x, "y": y, "provenance": "[" * 100_000}, "its provenance is no JSON"),
        ({"x": x, "y": np.array([{}, None])}, "pickled objects, which are never opened"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, object], words: str) -> None:
    with pytest.raises(FileError, match=words) as caught:
        load(written(tmp_path, **arrays))
    assert "\n" not in str(caught.value)


def test_names_in_a_message_are_printable(tmp_path: Path) -> None:
    (tmp_path / "a\nb").mkdir()
    assert load(written(tmp_path, **{"x": x, "y": y, "a\x1b[31m": x})).not_compared == ("a\\x1b[31m",)
    with pytest.raises(FileError, match=r"a\\nb/t.npz: has no array 'y'"):
        load(written(tmp_path / "a\nb", x=x))


def archive(folder: Path, member: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A trace whose `y` is `member`."""
    sound = io.BytesIO()
    np.save(sound, x)
    with zipfile.ZipFile(folder / "t.npz", "w", compression) as file:
        file.writestr("x.npy", sound.getvalue())
        file.writestr("y.npy", member)
    return folder / "t.npz"


def npy(shape: str, data: bytes = b"", descr: str = "<f4") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (npy("(2, 3, 4)", bytes(95)), "announces .* bytes, and holds"),
        (npy("(2, 3, 4)", bytes(97)), "announces .* bytes, and holds"),
        (npy("(2, 99999999, 99999999)", bytes(96)), "announces .* bytes, and holds"),
        (npy("(2, 3, 99999999999999999999)", bytes(96)), "announces .* bytes, and holds"),
        (npy("(2, 3, 4)", bytes(96), "nonsense"), "is no readable array"),
        (npy("'2'", bytes(96)), "is no readable array"),
        (b"", "is no readable array"),
        (b"\x93NUMPY\x09\x00", "is no readable array"),
        (b"not an array", "is no readable array"),
        (b"\x93NUMPY\1\0\x35\0{'descr': '<f4', 'fortran_order': False, 'shape': (3,", "is no readable array"),
        (b"\x93NUMPY\1\0" + struct.pack("<H", 8001) + b"-" * 8000 + b"1", "is no readable array"),
        (npy("(-2, -3, 1)", bytes(24)), "is no readable array"),
        (npy("(True, 3, 1)", bytes(12)), "is no readable array"),
        (npy("(2, 3, 4)", bytes(96), ","), "is no readable array"),
        (npy("(" + "1," * 70 + ")", bytes(4)), "is no readable array"),
    ],
)
def test_headers_that_lie(tmp_path: Path, member: bytes, words: str) -> None:
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with pytest.raises(FileError, match=f"y.npy {words}"):
            load(archive(tmp_path, member, compression))


@pytest.mark.parametrize("shape", ["(0, 9999999999, 9999999999)", "(0, 9999999999999999999, 1)"])
def test_an_empty_array_of_a_shape_that_none_has_is_refused(tmp_path: Path, shape: str) -> None:
    with pytest.raises(FileError, match=r"y\.npy announces the shape .*, which no array has"):
        load(archive(tmp_path, npy(shape)))


def test_a_provenance_of_letters_that_there_are_not_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, x=x, y=y)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("provenance.npy", npy("()", b"\xff\xff\xff\x7f", "<U1"))
    with pytest.raises(FileError, match="its provenance is no JSON"):
        load(path)


def test_a_deflate_bomb_is_not_inflated(tmp_path: Path) -> None:
    size = 2**25
    path = archive(tmp_path, npy(f"(1, 1, {size // 4})", bytes(size)), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**16
    with pytest.raises(FileError, match=r"y.npy inflates \d+ bytes to \d+; store it uncompressed"):
        load(path)


def test_a_stored_size_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, npy("(2000, 3000, 1)", bytes(24)))
    with zipfile.ZipFile(path) as file:
        info = file.getinfo("y.npy")
    raw, size = bytearray(path.read_bytes()), info.file_size - 24 + 4 * 6_000_000
    struct.pack_into("<II", raw, raw.rfind(b"PK\1\2") + 20, size, size)
    struct.pack_into("<II", raw, info.header_offset + 18, size, size)
    path.write_bytes(raw)
    with pytest.raises(FileError, match=r"y\.npy"):
        load(path)


def test_a_zip_of_another_version_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, npy("(2, 3, 1)", bytes(24)))
    raw = bytearray(path.read_bytes())
    raw[raw.find(b"PK\1\2") + 6] = 99
    path.write_bytes(raw)
    assert not is_trace(path)
    with pytest.raises(FileError, match=r"is no intact .npz archive"):
        load(path)


def test_damage_inside_a_deflated_member_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(2, 30, 2)), y=np.zeros((2, 30, 2)))
    sound = path.read_bytes()
    refused = 0
    for k in range(35, 600, 3):
        damaged = bytearray(sound)
        damaged[k] ^= 0x55
        path.write_bytes(damaged)
        try:
            load(path)
        except FileError as error:
            refused += "\n" not in str(error)
    assert refused > 150


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    whole = written(tmp_path, x=x, y=y).read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "t.npz").write_bytes(whole[:size])
        assert not is_trace(tmp_path / "t.npz")
        with pytest.raises(FileError, match=r"is no intact .npz archive; it may be truncated"):
            load(tmp_path / "t.npz")
