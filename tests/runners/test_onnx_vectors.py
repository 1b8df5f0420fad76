"""ONNX's own test vectors of RNN, GRU and LSTM (onnx/backend/test/case/node), against the reference and the runner."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from rnnverify import reference
from rnnverify.canonical import Array
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.runner_process import Limits
from rnnverify.sides import open_side, parse
from rnnverify.trace import FROM_H0, ZERO, Batch, Run

_STORED = (1, 2, 3, 7)  # W, R, B and P: inputs of those models, initializers of any other


@dataclass(frozen=True)
class Vector:
    """One test vector: a node, what goes in, and what has to come out."""

    name: str
    node: Any
    inputs: dict[str, Array]
    outputs: dict[str, Array]

    @property
    def batch_first(self) -> bool:
        return any(attribute.name == "layout" and attribute.i == 1 for attribute in self.node.attribute)

    @property
    def batch(self) -> Batch:
        x = self.inputs["X"] if self.batch_first else self.inputs["X"].swapaxes(0, 1)
        names = [self.node.input[k] if len(self.node.input) > k else "" for k in (5, 6)]
        h0, c0 = (tuple(self.inputs[name]) if name in self.inputs else None for name in names)
        return Batch(FROM_H0 if h0 or c0 else ZERO, x, h0, c0)

    def write(self, folder: Path) -> Path:
        stored = [self.node.input[k] for k in _STORED if k < len(self.node.input) and self.node.input[k]]
        tensors = [onnx.numpy_helper.from_array(self.inputs[name], name) for name in stored]

        def infos(names: Any) -> list[Any]:
            return [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in names if n]

        fed = [name for name in self.inputs if name not in stored]
        graph = onnx.helper.make_graph([self.node], "g", infos(fed), infos(self.node.output), tensors)
        path = folder / f"{self.name}.onnx"
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10), path)
        return path

    def check(self, run: Run, limit: float) -> None:
        """Hold what came out against Y (T, D, B, H), Y_h and Y_c (D, B, H), those of them that the vector has."""
        D, H = len(run.h_n), run.h_n[0].shape[1]
        y = run.y.reshape(*run.y.shape[:2], D, H)  # (B, T, D, H)
        made = {"Y": y if self.batch_first else y.transpose(1, 2, 0, 3)}
        for name, finals in (("Y_h", run.h_n), ("Y_c", run.c_n)):
            stacked = np.stack(finals) if finals else np.zeros(0)
            made[name] = stacked.swapaxes(0, 1) if self.batch_first and finals else stacked
        for name, kind in zip(self.node.output, ("Y", "Y_h", "Y_c"), strict=False):
            if name:
                assert self.outputs[name].shape == made[kind].shape
                assert np.abs(self.outputs[name] - made[kind]).max() < limit


def vectors() -> Iterator[Vector]:
    for op in ("RNN", "GRU", "LSTM"):
        module: Any = importlib.import_module(f"onnx.backend.test.case.node.{op.lower()}")
        recorded: list[Vector] = []

        def record(node: Any, inputs: Any, outputs: Any, name: str, *, kept: list[Vector] = recorded) -> None:
            read = [each for each in node.input if each]
            given = [each for each in node.output if each]
            kept.append(
                Vector(name, node, dict(zip(read, inputs, strict=True)), dict(zip(given, outputs, strict=True)))
            )

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "expect", record)
            for name in dir(getattr(module, op)):
                if name.startswith("export"):
                    getattr(getattr(module, op), name)()
        yield from recorded


VECTORS = list(vectors())


def test_there_are_vectors_of_every_operator() -> None:
    counts = {op: sum(vector.node.op_type == op for vector in VECTORS) for op in ("RNN", "GRU", "LSTM")}
    assert min(counts.values()) >= 4


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_reference_gives_what_onnx_wants(vector: Vector, tmp_path: Path) -> None:
    side = open_side(parse(str(vector.write(tmp_path)), "A"))
    assert side.network is not None
    (run,) = reference.run(side.network, [vector.batch]).runs.values()
    vector.check(run, 1e-6)


def test_onnxruntime_gives_what_onnx_wants(tmp_path: Path) -> None:
    """All in one process; a batch-first node is refused by name."""
    jobs = []
    for vector in VECTORS:
        path = vector.write(tmp_path)
        side = open_side(parse(str(path), "A"))
        assert side.reading is not None
        assert bool(side.reading.recipe.cannot_run) == vector.batch_first
        if not vector.batch_first:
            jobs.append((vector, Job(vector.name, vector.name, path, side.reading, (vector.batch,))))
    assert len(jobs) >= 12
    with Runners(Limits()) as runners:
        runners.submit([job for _, job in jobs])
        for vector, job in jobs:
            trace, _ = runners.collect(job)
            (run,) = trace.runs.values()
            vector.check(run, 1e-6)
