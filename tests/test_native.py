"""What a runner process may do to its side, and to nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import rnnverify
from rnnverify import reference
from rnnverify.assumptions import settle_activations
from rnnverify.canonical import Direction, Network
from rnnverify.errors import OptionError, RunnerError
from rnnverify.inputs import InputOptions
from rnnverify.jobs import Job, compute_dtype
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.runner_process import Limits
from rnnverify.sides import Opened, open_side, parse
from rnnverify.trace import FROM_H0, ZERO, Batch


def broken_torch(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Put a `torch` that does `code` when it is imported in front of the real one, for child processes."""
    (folder / "torch.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def opened(source: str) -> Opened:
    return settle_activations([open_side(parse(source, "A"))], ())[0]


def test_a_missing_framework(fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_torch(tmp_path, monkeypatch, "raise ImportError(\"No module named 'torch'\")")
    sides = (fixtures / "rnn.pt", fixtures / "rnn_legacy.pt")
    result = rnnverify.compare(*sides)
    assert [side.engine for side in result.sides] == ["reference"] * 2
    assert "because No module named 'torch'; install it with: pip install 'rnnverify[torch]'" in result.sides[0].how
    with pytest.raises(RunnerError, match="rnnverify\\[torch\\]"):
        rnnverify.compare(*sides, options=Options(engine="native"))


@pytest.mark.parametrize(
    ("code", "options", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Limits(), "was ended by SIGSEGV"),
        ("import os; print('bad magic'); os._exit(7)", Limits(), "ended with status 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", Limits(), "ran out of memory"),
        ("import time; time.sleep(60)", Limits(seconds=1.0), "did not finish within 1 s"),
        ("x = bytearray(8 * 2**30)", Limits(memory=2**30), "--memory"),
        ("inference_mode = None", Limits(), "its runner failed, AttributeError"),
    ],
)
def test_a_runner_that_fails_is_one_sentence(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, options: Limits, message: str
) -> None:
    broken_torch(tmp_path, monkeypatch, code)
    with pytest.raises(RunnerError, match=message) as caught:
        rnnverify.compare(fixtures / "rnn.pt", fixtures / "rnn_legacy.pt", options=Options(limits=options))
    assert "rnn.pt" in str(caught.value) and "\n" not in str(caught.value)


def test_one_process_serves_several_files_and_inputs(fixtures: Path) -> None:
    sides = [opened(str(fixtures / name)) for name in ("simple_rnn.h5", "basic_rnn_cell.ckpt", "bidirectional.h5")]
    x = np.linspace(-1, 1, 2 * 4 * 5, dtype=np.float32).reshape(2, 4, 5)
    with Runners(Limits()) as runners:
        jobs = []
        for k, side in enumerate(sides):
            assert side.contents and side.reading and side.network
            h0 = tuple(np.full((2, d.hidden_size), 0.25, np.float32) for _, _, d in side.network.directions())
            batches = (Batch(ZERO, x), Batch(FROM_H0, x[:, :3], h0))
            jobs.append(Job(str(k), side.source.given, side.contents.path, side.reading, batches))
        runners.submit(jobs)
        assert len(list(runners.folder.glob("*/log"))) == 1
        for job in jobs:
            trace, result = runners.collect(job)
            expected = reference.run(job.reading.network, job.batches)
            assert result["loaded"]
            for name, run in trace.runs.items():
                assert np.abs(run.y - expected.runs[name].y).max() < 1e-6
        folder = runners.folder
    assert not folder.exists()


def test_a_file_that_ends_its_process_does_not_end_the_others(
    fixtures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of three jobs kills its process; the third runs in a new one."""
    broken_torch(tmp_path, monkeypatch, "")
    kill = "os.kill(os.getpid(), 9) if 'deadly' in job['path'] else {'outputs': {}, 'loaded': '', 'why_not': ''}"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, types\nfake = types.ModuleType('run_torch')\n"
        f"fake.run = lambda job: {kill}\nsys.modules['run_torch'] = fake\n"
    )
    side = opened(str(fixtures / "rnn.pt"))
    assert side.reading
    paths = [tmp_path / name for name in ("first.pt", "deadly.pt", "third.pt")]
    jobs = [Job("A", path.name, path, side.reading, ()) for path in paths]
    with Runners(Limits()) as runners:
        runners.submit(jobs)
        runners.collect(jobs[0])
        with pytest.raises(RunnerError, match=r"deadly\.pt: its runner was killed"):
            runners.collect(jobs[1])
        runners.collect(jobs[2])


def test_a_side_in_another_interpreter(fixtures: Path, tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\ntouch "{tmp_path}/used"\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    side = fixtures / "rnn.pt"
    result = rnnverify.compare(side, side, options=Options(pythons=(f"B={other}",)))
    assert result.verdict == "IDENTICAL" and (tmp_path / "used").exists()
    for given, said in (
        ("C=python3", "the sides are A, B"),
        ("python3", "wanted SIDE=PATH"),
        ("A=nowhere", "no program"),
    ):
        with pytest.raises(OptionError, match=said):
            rnnverify.compare(side, side, options=Options(pythons=(given,)))


LONG = [
    ("stacked.keras", 450),
    ("two_parts.pt#below+above", 450),
    ("stacked.ckpt", 450),
    ("bidirectional.keras", 1030),
    ("bidirectional.pt", 1030),
    ("bidirectional.ckpt", 1030),
    ("wrong/go_backwards.keras", 1030),
]


def test_long_inputs_in_blocks_equal_the_reference(fixtures: Path) -> None:
    """Forward networks carry states from block to block; backward ones run layer by layer beyond 1000 steps."""
    rng = np.random.default_rng(0)
    with Runners(Limits()) as runners:
        jobs = []
        for k, (name, steps) in enumerate(LONG):
            side = opened(f"{fixtures}/{name}")
            assert side.contents and side.reading and side.network
            x = rng.normal(size=(2, steps, 5)).astype(np.float32)
            sizes = [d.hidden_size for _, _, d in side.network.directions()]
            h0 = tuple(rng.uniform(-1, 1, (2, size)).astype(np.float32) for size in sizes)
            jobs.append(Job(str(k), name, side.contents.path, side.reading, (Batch(ZERO, x), Batch(FROM_H0, x, h0))))
        runners.submit(jobs)
        for job in jobs:
            trace, _ = runners.collect(job)
            expected = reference.run(job.reading.network, job.batches)
            for name, run in trace.runs.items():
                assert np.abs(run.y - expected.runs[name].y).max() < 3e-6, (job.source, name)
                for ours, theirs in zip(run.h_n, expected.runs[name].h_n, strict=True):
                    assert np.abs(ours - theirs).max() < 3e-6, (job.source, name)


def test_compute_dtype() -> None:
    def network(dtype: str) -> Network:
        from rnnverify.canonical import Layer

        kernel, square, bias = np.ones((1, 2, 3), dtype), np.ones((1, 3, 3), dtype), np.zeros((1, 3), dtype)
        return Network((Layer((Direction(kernel, square, bias, bias),)),))

    assert compute_dtype(network("float64").dtype) == "float64"
    assert compute_dtype(network("float32").dtype) == "float32"
    assert compute_dtype(network("float16").dtype) == "float32"


def test_float64_files_run_in_float64(fixtures: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    arrays = {name: array.astype(np.float64) for name, array in load_file(fixtures / "rnn.safetensors").items()}
    save_file(arrays, tmp_path / "double.safetensors")
    options = Options(inputs=InputOptions(steps=8))
    trace = rnnverify.run(tmp_path / "double.safetensors", options=options)
    assert trace.runs[ZERO].y.dtype == np.float64
    result = rnnverify.compare(tmp_path / "double.safetensors", fixtures / "rnn.safetensors", options=options)
    assert result.verdict == "EQUIVALENT"


def test_the_environment_of_a_runner_is_recorded(fixtures: Path) -> None:
    result = rnnverify.compare(fixtures / "simple_rnn.h5", fixtures / "rnn.pt", fixtures / "basic_rnn_cell.ckpt")
    for side in result.sides:
        assert {"machine", "system", "threads", "device", "blas", "onednn", "products"} <= set(side.environment)
        assert (side.environment["device"], side.environment["products"]) == ("cpu", "float32")


def test_a_trusted_file_is_loaded_whole(fixtures: Path) -> None:
    file = fixtures / "genuine/torch-2.13.0/rnn_a_ckpt_np/ckpt.pth"
    (baseline,) = (fixtures / "genuine/torch-1.0.1/rnn_a_cell").glob("*.pt")
    for trust, how in (((), "rebuilt"), (("B",), "loaded by torch.load, trusted")):
        result = rnnverify.compare(baseline, file, options=Options(trust=trust))
        assert result.verdict in ("IDENTICAL", "EQUIVALENT") and how in result.sides[1].how
    with pytest.raises(OptionError, match="--trust C: the sides are A, B"):
        rnnverify.compare(file, file, options=Options(trust=("C",)))
