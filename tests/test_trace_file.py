"""Traces: saved and loaded without loss, written by anyone, all or nothing."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import batches, computed, gated, mixed, networks, single, stacked

from rnnverify import reference
from rnnverify.canonical import Array, Network
from rnnverify.errors import FileError, OutputError
from rnnverify.trace import FROM_H0, ZERO, Batch, Run, Trace
from rnnverify.trace_file import is_trace, load, save

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
y = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
h0 = np.ones((1, 2, 4), np.float32)


def assert_same(found: Trace, wanted: Trace) -> None:
    assert list(found.runs) == list(wanted.runs)
    assert dict(found.provenance) == dict(wanted.provenance)
    for name, run in wanted.runs.items():
        other = found.runs[name]
        for ours, theirs in (
            ((other.batch.x, other.y), (run.batch.x, run.y)),
            (other.h_n, run.h_n),
            (other.states, run.states),
            (other.batch.h0 or (), run.batch.h0 or ()),
            (other.c_n, run.c_n),
            (other.batch.c0 or (), run.batch.c0 or ()),
        ):
            assert len(ours) == len(theirs)
            for a, b in zip(ours, theirs, strict=True):
                assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@pytest.mark.parametrize("network", [gated("gru"), gated("lstm", P=3), mixed()])
def test_cell_states_are_kept(tmp_path: Path, network: Network) -> None:
    trace = computed(network, batches(network))
    save(trace, tmp_path / "t.npz")
    assert_same(load(tmp_path / "t.npz"), trace)


def test_a_batch_of_other_cell_states_is_another_one() -> None:
    _, batch = batches(gated("lstm"))
    assert batch.c0 is not None
    other = Batch(batch.name, batch.x, batch.h0, tuple(c + 1 for c in batch.c0))
    assert batch.fingerprint() != other.fingerprint()
    part = batch.of(slice(1), slice(2))
    assert part.x.shape == (1, 2, 3) and [s.shape for s in part.starts] == [(1, 4), (1, 4)]


@same_folder
@given(network=networks(), with_h0=st.booleans(), dtype=st.sampled_from(["float16", "float32", "float64"]))
def test_what_is_saved_is_loaded(tmp_path: Path, network: object, with_h0: bool, dtype: str) -> None:
    made = computed(network, batches(network)[: 1 + with_h0], dtype)  # type: ignore[arg-type]
    trace = Trace(made.runs, {"framework": "Größe", "layers": [1, 2]})
    save(trace, tmp_path / "t.npz")
    found = load(tmp_path / "t.npz")
    assert_same(found, trace)
    assert found.not_compared == ()
    assert is_trace(tmp_path / "t.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]


def test_states_are_stacked_where_their_widths_allow(tmp_path: Path) -> None:
    for widths, names in (([4, 4], {"h_n", "h0"}), ([4, 2], {"h_n_0", "h_n_1", "h0_0", "h0_1"})):
        network = stacked(3, widths)
        save(computed(network, batches(network)), tmp_path / "t.npz")
        with np.load(tmp_path / "t.npz") as file:
            assert names <= set(file)
            assert file[min(names)].shape[-1] == 4


def test_other_inputs_of_the_run_from_h0_are_kept(tmp_path: Path) -> None:
    network = single(2, 4)
    (zero, from_h0), other = batches(network), np.float32(2)
    trace = computed(network, [zero, Batch(FROM_H0, from_h0.x[:1, :2] * other, tuple(h[:1] for h in from_h0.h0 or ()))])
    save(trace, tmp_path / "t.npz")
    assert_same(load(tmp_path / "t.npz"), trace)


def test_states_need_not_be_recorded(tmp_path: Path) -> None:
    trace = Trace({ZERO: Run(Batch(ZERO, x), y)})
    save(trace, tmp_path / "t.npz")
    assert_same(load(tmp_path / "t.npz"), trace)


def written(folder: Path, **arrays: object) -> Path:
    """As any runtime would write it."""
    np.savez(folder / "t.npz", **arrays)  # type: ignore[arg-type]
    return folder / "t.npz"


def test_a_trace_that_another_runtime_wrote(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        x=x,
        y=np.asfortranarray(y),
        h_n=y[None, :, -1],
        h0=h0,
        y_from_h0=y + 1,
        h_n_from_h0_0=np.zeros(3),
        h_n_0_from_h0=y[:, -1] + 1,
        provenance=json.dumps({"framework": "in-house 7"}),
        x_lengths=np.array([3, 3]),
    )
    found = load(path)
    assert_same(
        found,
        Trace(
            {
                ZERO: Run(Batch(ZERO, x), y, (y[:, -1],)),
                FROM_H0: Run(Batch(FROM_H0, x, (h0[0],)), y + 1, (y[:, -1] + 1,)),
            },
            {"framework": "in-house 7"},
        ),
    )
    assert found.not_compared == ("h_n_from_h0_0", "x_lengths")


def test_a_compressed_trace(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "t.npz", x=x, y=y)
    assert_same(load(tmp_path / "t.npz"), Trace({ZERO: Run(Batch(ZERO, x), y)}))


def test_stored_arrays_are_mapped_not_read(tmp_path: Path) -> None:
    run = load(written(tmp_path, x=x, y=y)).runs[ZERO]
    assert isinstance(run.y, np.memmap) and not run.y.flags.writeable


def test_what_is_no_trace(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x.npy y.npy")
    for path in (tmp_path / "text", tmp_path / "absent", tmp_path, written(tmp_path, x=x)):
        assert not is_trace(path)
    with pytest.raises(FileError, match=r"absent: cannot be read .*; check the path"):
        load(tmp_path / "absent")


@pytest.mark.parametrize("earlier", [False, True])
def test_a_half_written_file_is_never_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    path = tmp_path / "t.npz"
    if earlier:
        path.write_bytes(b"an earlier trace")

    def full(file: io.BufferedWriter, **_: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\); choose another place"):
        save(Trace({ZERO: Run(Batch(ZERO, x), y)}), path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("t.npz", b"an earlier trace")] * earlier


def test_a_half_written_file_is_not_left_by_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(file: io.BufferedWriter, **_: object) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(Trace({ZERO: Run(Batch(ZERO, x), y)}), tmp_path / "t.npz")
    assert not list(tmp_path.iterdir())


def test_a_trace_has_a_run_from_zero_states(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a trace file has a run from zero states"):
        save(Trace({FROM_H0: Run(Batch(FROM_H0, x, (h0[0],)), y)}), tmp_path / "t.npz")
    assert not list(tmp_path.iterdir())


def test_states_of_every_layer_are_kept(tmp_path: Path) -> None:
    network = stacked(3, [4, 2])
    found = reference.run(network, batches(network))
    save(found, tmp_path / "t.npz")
    loaded = load(tmp_path / "t.npz")
    assert loaded.not_compared == ()
    assert_same(loaded, found)


def test_initial_states_that_nothing_starts_from_are_named(tmp_path: Path) -> None:
    assert load(written(tmp_path, x=x, y=y, h0=h0)).not_compared == ("h0",)


def test_a_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        save(Trace({ZERO: Run(Batch(ZERO, x), y)}), tmp_path / "absent" / "t.npz")


def test_a_fingerprint_is_of_the_values() -> None:
    def of(array: Array, *states: Array) -> str:
        return Batch(ZERO, array, states or None).fingerprint()

    long = np.random.default_rng(0).normal(size=(1, 1030, 2))
    assert of(x) == of(x.astype(np.float64)) == of(np.asfortranarray(x))
    assert of(long) == of(long.copy())
    changed = long.copy()
    changed[0, 1029, 1] += 1e-9
    assert len({of(x), of(x + 1), of(x.reshape(1, 6, 2)), of(x, h0[0]), of(x, 2 * h0[0]), of(long), of(changed)}) == 7


@pytest.mark.parametrize("shape", [(2, 3), (2, 1, 3)])
def test_outputs_of_the_last_step_alone_are_read(shape: tuple[int, ...], tmp_path: Path) -> None:
    made = np.arange(6, dtype=np.float32).reshape(shape)
    x, y = np.ones((2, 4, 5), np.float32), np.ones((2, 4, 6), np.float32)
    np.savez(tmp_path / "t.npz", x=x, y=y, model_out=made)
    found = load(tmp_path / "t.npz")
    assert found.not_compared == () and np.array_equal(found.runs[ZERO].model_out, made.reshape(2, 1, 3))  # type: ignore[arg-type]
    save(found, tmp_path / "again.npz")
    assert np.array_equal(load(tmp_path / "again.npz").runs[ZERO].model_out, made.reshape(2, 1, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 3), (2, 4, 3, 1), (2, 0)])
def test_outputs_of_other_steps_or_sequences_are_named(shape: tuple[int, ...], tmp_path: Path) -> None:
    x, y = np.ones((2, 4, 5), np.float32), np.ones((2, 4, 6), np.float32)
    np.savez(tmp_path / "t.npz", x=x, y=y, model_out=np.ones(shape, np.float32))
    assert load(tmp_path / "t.npz").not_compared == ("model_out",)
