"""What a case recorded in its io.npz, as batches to run and outputs to meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from corpus_cases import Case, Submodel

from rnnverify.around import NOTHING, features
from rnnverify.canonical import Array
from rnnverify.sides import Opened
from rnnverify.trace import FROM_H0, ZERO, Batch, Trace

LIMITS = {"float32": 2e-6, "float64": 1e-12, "float16": 2e-2, "bfloat16": 2e-2}
"""By the dtype that the outputs were computed in, relative to the largest output where that is above 1."""

_GROWTH = 1.5  # of rounding in a step of a chaotic network; those of the corpus stay below 1.35


@dataclass(frozen=True)
class Recorded:
    """Inputs and outputs for one recurrent part."""

    batches: tuple[Batch, ...]
    outputs: Mapping[str, Mapping[str, Array]]  # batch -> "y" (B, T, F), "h_n 0" (B, H), "model_out", ... -> values
    limits: Mapping[str, float]  # batch -> what may differ
    steps: Array | None  # (S,) the steps that y holds, where it does not hold all
    open_steps: Array | None  # (B, T) True up to the first masked step, where steps are masked
    chaotic: bool  # rounding grows along time, and the limit with it


def recorded(case: Case, side: Opened, arrays: Mapping[str, Array]) -> Recorded:
    """What `arrays`, the io.npz of `case`, says about the part that `side` is. Raises LookupError where nothing."""
    assert side.network is not None and side.contents is not None
    part = submodel(case, side.network.input_size, side.network.output_size)
    x, y = arrays["x"], f"y_{part.name}" if part else "y"
    if part and part.inputs != side.network.input_size:
        part = next(p for p in case.submodels if p.inputs == side.network.input_size)  # the lowest of a stack
    if part and part.reads:
        x = arrays[f"y_{part.reads}"]
    mask = None
    if case.facts.get("masking"):
        mask = np.logical_and.accumulate(np.any(x.reshape(*x.shape[:2], -1) != 0, axis=2), axis=1)
    around = side.reading.around if side.reading else NOTHING
    if x.ndim == 2:
        if around.embedding is None:
            raise LookupError(f"{side.source}: no embedding was found")
        x = features(around.embedding, x)
    batches, outputs, wide = [Batch(ZERO, x)], {ZERO: _outputs(arrays, y, "", mask is None)}, ""
    if side.network.dtype != np.float64:
        wide = "_float32_compute" if f"{y}_float32_compute" in arrays else ""
        if wide:
            outputs[ZERO] = {"y": arrays[y + wide]}
    if "h0" in arrays and f"{y}_from_h0" in arrays:
        c0 = tuple(arrays["c0"]) if "c0" in arrays else None
        batches.append(Batch(FROM_H0, x, tuple(arrays["h0"]), c0))
        outputs[FROM_H0] = _outputs(arrays, y, "_from_h0", mask is None)
    if case.facts.get("head") and "model_out" in arrays:
        if around.head is None:
            raise LookupError(f"{side.source}: no dense layers were found behind it")
        outputs[ZERO]["model_out"] = arrays["model_out"]
    if not any(outputs.values()):
        raise LookupError(f"io.npz holds no outputs of {side.source}")
    limit = LIMITS[case.facts["dtype"]]
    limits = {batch.name: LIMITS["float32"] if wide and batch.name == ZERO else limit for batch in batches}
    steps = arrays.get("y_steps")
    chaotic = steps is not None and case.facts["expect"] == "load_numerically_sensitive"
    if chaotic:
        outputs = {ZERO: {"y": outputs[ZERO]["y"]}}
    return Recorded(tuple(batches), outputs, limits, steps, mask, chaotic)


def submodel(case: Case, inputs: int, outputs: int) -> Submodel | None:
    """The submodel that a part of these sizes ends with; None where the model is not one of several."""
    exact = [p for p in case.submodels if (p.inputs, p.outputs) == (inputs, outputs)]
    return next(iter(exact or [p for p in case.submodels if p.outputs == outputs]), None)


def _outputs(arrays: Mapping[str, Array], y: str, suffix: str, states: bool) -> dict[str, Array]:
    found = {"y": arrays[y + suffix]} if y + suffix in arrays else {}
    if y == "y" and states:
        for what in ("h_n", "c_n"):
            found |= {f"{what} {k}": state for k, state in enumerate(arrays.get(what + suffix, ()))}
            found |= {
                f"{what} {k}": arrays[f"{what}_{k}{suffix}"] for k in range(99) if f"{what}_{k}{suffix}" in arrays
            }
    if "last" in arrays and not suffix:
        found["last"] = arrays["last"]
    return found


def deviation(wanted: Recorded, trace: Trace) -> tuple[float, str]:
    """How far `trace` lies from the record, as a multiple of what is allowed, and where that is."""
    worst, where = 0.0, ""
    for name, outputs in wanted.outputs.items():
        run = trace.runs[name]
        for what, values in outputs.items():
            finals = run.c_n if what.startswith("c_n") else run.h_n
            if what == "model_out":
                assert run.model_out is not None
                ours = run.model_out if values.ndim == 3 else run.model_out[:, -1]
            else:
                ours = run.y[:, -1] if what == "last" else run.y if what == "y" else finals[int(what[4:])]
            if what == "y" and wanted.steps is not None:
                ours = ours[:, wanted.steps]
            if ours.shape != values.shape:
                return float("inf"), f"{what} has shape {ours.shape}, recorded was {values.shape}"
            difference = np.abs(ours.astype(np.float64) - values.astype(np.float64))
            if what == "y" and wanted.open_steps is not None:
                difference = np.where(wanted.open_steps[..., None], difference, 0.0)
            limit = np.array(wanted.limits[name] * max(1.0, float(np.abs(values.astype(np.float64)).max())))
            if wanted.chaotic and wanted.steps is not None:
                limit = limit * np.minimum(_GROWTH ** wanted.steps[:, None].astype(np.float64), 1e9)
            share = float((difference / limit).max())
            if not share <= worst:
                worst, where = share, f"{what} ({name}) differs by {float(difference.max()):.2g}"
    return worst, where
