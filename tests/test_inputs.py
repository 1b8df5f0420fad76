"""Inputs: the same numbers from a seed on every machine, and files refused that cannot be run."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import bidirectional, edited, gated, networks, single, stacked

from rnnverify.canonical import Array, Network
from rnnverify.errors import FileError, InputsError
from rnnverify.inputs import InputOptions, input_scale, make_batches, read_inputs
from rnnverify.trace import FROM_H0, ZERO

x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)


def with_kernel(value: float, I: int = 3, H: int = 4) -> Network:
    return edited(single(I, H), kernel=np.full((1, I, H), value, np.float32))


def test_a_seed_means_these_numbers() -> None:
    zero, from_h0 = make_batches(InputOptions(), with_kernel(1.0))
    assert (zero.name, zero.x.shape, zero.x.dtype.name) == (ZERO, (8, 32, 3), "float32")
    assert zero.x[0, 0].tolist() == [-0.21778380870819092, 0.8161582946777344, 0.9359732866287231]
    assert zero.x[1, 0].tolist() == [-0.0779605507850647, -0.34105145931243896, -0.024427056312561035]
    assert zero.fingerprint() == "330f680cfb09f4811067eb87fc41fe783bef0d38f3b1e27ddc0e7d085026380b"
    assert from_h0.fingerprint() == "7e2af8b6bbac3a4dbbb0889be23c15fb502d1ce157271ad04713eca1f3f26b06"


def test_the_run_from_random_states_is_a_part_of_the_same_sequences() -> None:
    options = InputOptions(sequences=9, steps=300)
    network = Network((*bidirectional(2, 4).layers, *single(8, 3).layers))
    zero, from_h0 = make_batches(options, network)
    assert from_h0.name == FROM_H0
    assert np.array_equal(from_h0.x, zero.x[:8, :256])
    assert [h.shape for h in from_h0.h0 or ()] == [(8, 4), (8, 4), (8, 3)]
    assert all(h.dtype == np.float32 and h.any() and np.abs(h).max() <= 1 for h in from_h0.h0 or ())


@given(st.integers(0, 2**64), st.integers(1, 5), st.integers(1, 9), networks())
def test_seed_and_shape_determine_everything(seed: int, sequences: int, steps: int, network: Network) -> None:
    options = InputOptions(sequences, steps, seed)
    first, again = make_batches(options, network), make_batches(options, network)
    assert [b.fingerprint() for b in first] == [b.fingerprint() for b in again]
    other = make_batches(InputOptions(sequences, steps, seed + 1), network)
    assert first[1].fingerprint() != other[1].fingerprint()
    assert np.isfinite(first[0].x).all()


def test_amplitudes_of_successive_sequences() -> None:
    zero, _ = make_batches(InputOptions(sequences=4, steps=4000), with_kernel(1.0))
    assert np.abs(zero.x).max(axis=(1, 2)).tolist() == pytest.approx([1.0, 0.5, 2.0, 1.0], rel=1e-2)


@pytest.mark.parametrize(
    ("value", "scale"),
    [(1.0, 1.0), (0.25, 4.0), (4.0, 0.25), (1e-9, 1024.0), (1e9, 2.0**-10), (0.0, 1.0)],
)
def test_inputs_scale_with_the_kernel(value: float, scale: float) -> None:
    assert input_scale(with_kernel(value)) == scale
    zero, _ = make_batches(InputOptions(), with_kernel(value))
    unscaled, _ = make_batches(InputOptions(), with_kernel(1.0))
    assert np.array_equal(zero.x, unscaled.x * np.float32(scale))


@given(networks())
def test_the_scale_is_a_power_of_two_that_brings_the_input_near_1(network: Network) -> None:
    scale = input_scale(network)
    assert np.frexp(scale)[0] == 0.5
    norms = [np.linalg.norm(np.float64(d.kernel[0]), axis=0) for d in network.layers[0].directions]
    share = scale * float(np.median(norms)) / np.sqrt(3)
    assert 2**-0.51 <= share <= 2**0.51 or scale in (2.0**-10, 2.0**10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sequences": 0}, "--sequences 0: at least 1"),
        ({"steps": -1}, "--steps -1: at least 1"),
        ({"seed": -1}, "--seed -1: a seed is 0 or more"),
    ],
)
def test_options_that_make_no_sequences(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputsError, match=words):
        InputOptions(**options)


def npy(folder: Path, array: Array) -> Path:
    np.save(folder / "x.npy", array)
    return folder / "x.npy"


def npz(folder: Path, **arrays: Array) -> Path:
    np.savez(folder / "x.npz", **arrays)  # type: ignore[arg-type]
    return folder / "x.npz"


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", "int32", "uint8"])
def test_a_file_of_inputs(tmp_path: Path, dtype: str) -> None:
    for path in (npy(tmp_path, x.astype(dtype)), npz(tmp_path, any_name=x.astype(dtype))):
        found, h0, c0, lengths = read_inputs(path)
        assert np.array_equal(found, x)
        assert not h0 and not c0 and lengths is None
        assert found.dtype.isnative
        assert found.dtype == ("float64" if dtype == "float64" else "float32")


def test_an_npz_with_x_and_initial_states(tmp_path: Path) -> None:
    states = np.random.default_rng(0).normal(size=(2, 2, 4))
    path = npz(tmp_path, x=x, h0=states, other=x)
    zero, from_h0 = make_batches(InputOptions(file=path), bidirectional(2, 4))
    assert zero.x is from_h0.x
    assert np.array_equal(from_h0.h0 or (), states)


def test_a_file_without_initial_states_gets_those_of_the_seed(tmp_path: Path) -> None:
    path = npy(tmp_path, x)
    first = make_batches(InputOptions(file=path), single(2, 4))
    assert np.array_equal(first[0].x, x)
    assert first[1].fingerprint() == make_batches(InputOptions(file=path), single(2, 4))[1].fingerprint()
    assert first[1].fingerprint() != make_batches(InputOptions(file=path, seed=1), single(2, 4))[1].fingerprint()


@pytest.mark.parametrize("shape", [(2, 3), (3,), (), (1, 2, 3, 2), (0, 3, 2), (2, 0, 2), (2, 3, 0)])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    for path in (npy(tmp_path, np.zeros(shape)), npz(tmp_path, x=np.zeros(shape))):
        with pytest.raises(InputsError, match=r"wanted \(B, T, I\), or \(B, T\) of tokens, no axis empty"):
            read_inputs(path)


@pytest.mark.parametrize("dtype", ["bool", "complex64", "U1", "S1", "M8[s]"])
def test_other_dtypes_are_refused(tmp_path: Path, dtype: str) -> None:
    for path in (npy(tmp_path, np.zeros((2, 3, 2), dtype)), npz(tmp_path, x=np.zeros((2, 3, 2), dtype))):
        with pytest.raises(InputsError, match=r"x has dtype .*; wanted float32 or float64"):
            read_inputs(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    bad = x.copy()
    bad[1, 2, 0] = value
    with pytest.raises(InputsError, match="x holds NaN or infinity; wanted finite numbers"):
        read_inputs(npy(tmp_path, bad))
    with pytest.raises(InputsError, match="h0 holds NaN or infinity"):
        read_inputs(npz(tmp_path, x=x, h0=np.full((1, 2, 4), value)))


def test_files_that_do_not_fit_the_network(tmp_path: Path) -> None:
    with pytest.raises(InputsError, match=r"has 2 features in its last axis, the baseline reads 3; wanted \(B, T, 3\)"):
        make_batches(InputOptions(file=npy(tmp_path, x)), single(3, 4))
    for shape in ((1, 2, 5), (1, 1, 4), (2, 2, 4)):
        with pytest.raises(InputsError, match="h0 has states of shape"):
            make_batches(InputOptions(file=npz(tmp_path, x=x, h0=np.zeros(shape))), single(2, 4))
    with pytest.raises(InputsError, match="h0 has states of shape"):
        make_batches(InputOptions(file=npz(tmp_path, x=x, h0=np.zeros((2, 2, 4)))), stacked(2, [4, 3]))


def test_files_that_are_no_inputs(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(FileError, match="is no file of inputs"):
        read_inputs(path)
    with pytest.raises(FileError, match="is no file of inputs"):
        read_inputs(tmp_path)
    for content, words in (
        (b"", "the file is empty"),
        (b"1,2,3\n", "is neither .npy nor .npz"),
        (b"\x80\x04}.", "is neither .npy nor .npz"),
        (b"\x93NUMPY\x01\x00", "is no readable .npy array"),
        (npy(tmp_path, x).read_bytes()[:-1], "announces 48 bytes, and 47 are there"),
        (
            b"\x93NUMPY\x01\x00\x35\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3,",
            "is no readable .npy array",
        ),
        (b"PK\x03\x04", "is no intact .npz archive"),
    ):
        path.write_bytes(content)
        with pytest.raises(FileError, match=words):
            read_inputs(path)
    np.save(tmp_path / "x.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(FileError, match=r"holds pickled objects, which are never opened"):
        read_inputs(tmp_path / "x.npy")
    with pytest.raises(FileError, match="holds a, b; name the input sequences x"):
        read_inputs(npz(tmp_path, b=x, a=x))
    with pytest.raises(FileError, match="holds no array"):
        read_inputs(npz(tmp_path))
    with pytest.raises(FileError, match="cannot be read"):
        read_inputs(Path("a" * 300))


@pytest.mark.parametrize("shape", [(2, 4), (4,), (1, 1, 2, 4)])
def test_initial_states_of_other_axes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(FileError, match=r"h0 has shape .*wanted \(layers \* directions, B, H\)"):
        read_inputs(npz(tmp_path, x=x, h0=np.ones(shape)))


@pytest.mark.parametrize("size", ["2", "-2", "99999999999999999999", "True"])
def test_sizes_that_a_header_makes_up_are_refused(tmp_path: Path, size: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({size}, 3, 2), }}\n".encode()
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(24))
    with pytest.raises(FileError, match=r"is no readable .npy array|announces .* bytes, and 24 are there"):
        read_inputs(tmp_path / "x.npy")


def test_initial_cell_states() -> None:
    network = gated("lstm", 2, 4, P=3)
    _, from_h0 = make_batches(InputOptions(), network)
    assert [s.shape for s in from_h0.starts] == [(8, 3), (8, 4)] and all(s.any() for s in from_h0.starts)
    assert make_batches(InputOptions(), gated("gru", 2, 4))[1].c0 is None


def test_a_file_with_initial_cell_states(tmp_path: Path) -> None:
    network, h, c = gated("lstm", 2, 4), np.ones((1, 2, 4)), np.full((1, 2, 4), 2.0)
    _, from_h0 = make_batches(InputOptions(file=npz(tmp_path, x=x, h0=h, c0=c)), network)
    assert [float(s.mean()) for s in from_h0.starts] == [1.0, 2.0]
    _, without = make_batches(InputOptions(file=npz(tmp_path, x=x, h0=h)), network)
    assert without.c0 is None  # zeros
    with pytest.raises(InputsError, match="c0 has states of shape"):
        make_batches(InputOptions(file=npz(tmp_path, x=x, h0=h, c0=c[..., :2])), network)
    with pytest.raises(InputsError, match="h0 has states of shape"):
        make_batches(InputOptions(file=npz(tmp_path, x=x, c0=c)), network)
