"""Masked steps are left out, and what is left is what a network without masks does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import bidirectional, networks, single, stacked

from rnnverify import reference
from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.canonical import Array, Network
from rnnverify.errors import InputsError
from rnnverify.masked import unmasked, without_masked_steps
from rnnverify.sides import Opened, parse
from rnnverify.trace import FROM_H0, PROBE, ZERO, Batch, Run, Trace

FIXTURES = Path(__file__).parents[1] / "fixtures"


def model(network: Network, mask_value: float | None = 0.0) -> Opened:
    reading = Reading(network, Recipe("keras", (), {}), "rnn", True, {}, mask_value=mask_value)
    return Opened(parse("m.h5", "A"), None, reading, None)


def recorded(*runs: Run) -> Opened:
    return Opened(parse("t.npz", "B"), None, None, Trace({run.batch.name: run for run in runs}))


def masked_run(network: Network, batch: Batch, stays: Array) -> Run:
    """What Keras does: a masked step changes no state, and what a layer emits there stands still too."""
    x, finals = batch.x.astype(np.float64), []
    h0 = iter(batch.h0 or ())
    for layer in network.layers:
        outputs = []
        for d in layer.directions:
            h = np.zeros((len(x), d.hidden_size)) if batch.h0 is None else next(h0).astype(np.float64)
            y = np.zeros((*x.shape[:2], d.hidden_size))
            order = range(x.shape[1])[:: -1 if d.reverse else 1]
            for k, t in enumerate(order):
                z = x[:, t] @ d.kernel[0].astype(np.float64) + d.bias[0] + h @ d.recurrent_kernel[0].astype(np.float64)
                h = np.where(stays[:, t, None], ACTIVATIONS[layer.activation](z), h)
                y[:, t if layer.time_restored else k] = h
            outputs.append(y)
            finals.append(h)
        merged = {"sum": sum(outputs), "mul": np.prod(outputs, axis=0), "ave": sum(outputs) / len(outputs)}
        x = np.concatenate(outputs, axis=2) if layer.merge == "concat" else np.asarray(merged[layer.merge])
    return Run(batch, x, tuple(finals))


def inputs(rng: np.random.Generator, B: int, T: int, I: int) -> tuple[Array, Array]:
    """x (B, T, I) with some steps all zeros, and which ones are not (B, T)."""
    stays = rng.random((B, T)) < 0.7
    stays[0, 0] = True
    return (rng.normal(size=(B, T, I)) * stays[..., None]).astype(np.float32), stays


@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(0, 2**32 - 1), st.booleans())
def test_what_is_left_is_what_the_network_does_without_masks(network: Network, seed: int, from_h0: bool) -> None:
    rng = np.random.default_rng(seed)
    x, stays = inputs(rng, 3, 6, network.input_size)
    h0 = tuple(rng.normal(size=(3, d.hidden_size)) for _, _, d in network.directions())
    batch = Batch(FROM_H0, x, h0) if from_h0 else Batch(ZERO, x)
    turned = [not layer.time_restored for layer in network.layers]
    if any(turned) and len(turned) > 1 and not stays.all():
        with pytest.raises(InputsError, match="a backward layer beside others"):
            without_masked_steps([model(network), recorded(masked_run(network, batch, stays))])
        return
    _, side = without_masked_steps([model(network), recorded(masked_run(network, batch, stays))])
    assert side.trace is not None
    (run,) = side.trace.runs.values()
    expected = reference.run(network, [run.batch]).runs[batch.name]
    np.testing.assert_allclose(run.y, expected.y, atol=1e-9)
    for ours, theirs in zip(run.h_n, expected.h_n, strict=bool(run.h_n)):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def masked_at(*rows: str) -> Array:
    """(B, T, 3): a step that is `.` is all zeros."""
    x = np.arange(1, 1 + 3 * len(rows) * len(rows[0]), dtype=np.float32).reshape(len(rows), len(rows[0]), 3)
    return np.asarray(x * np.array([[mark != "." for mark in row] for row in rows])[..., None])


def lengths(network: Network, x: Array) -> tuple[int, ...]:
    (batch,) = unmasked([model(network)], [Batch(ZERO, x)])
    assert (batch.x != 0).any(axis=2).all()
    return batch.x.shape[:2]


def test_the_way_that_keeps_most_steps_is_taken() -> None:
    assert lengths(single(), masked_at("xxxxxx", "xx.xx.", "xxxx..")) == (3, 4)
    assert lengths(single(), masked_at("xxxxxx", "x.....", "x.....")) == (1, 6)
    assert lengths(single(), masked_at("xxxx", "....")) == (1, 4)
    # from its end, a backward direction has seen what is cut off: only whole sequences stay
    assert lengths(bidirectional(), masked_at("xxxxxx", "xx.xx.", "xxxx..")) == (2, 4)
    assert lengths(single(reverse=True), masked_at("xx.", "xxx")) == (1, 3)


def test_final_states_stay_where_sequences_are_whole() -> None:
    x = masked_at("xx.", "x.x")
    run = Run(Batch(ZERO, x), np.ones((2, 3, 4)), (np.ones((2, 4)),), (np.ones((2, 3, 4)),))
    _, side = without_masked_steps([model(single()), recorded(run)])
    assert side.trace and len(side.trace.runs[ZERO].h_n) == 1 and side.trace.runs[ZERO].states[0].shape == (2, 2, 4)
    cut = replace(run, batch=Batch(ZERO, masked_at("xx.", "xxx")))
    _, side = without_masked_steps([model(single()), recorded(cut)])
    assert side.trace and side.trace.runs[ZERO].h_n == () and side.trace.runs[ZERO].y.shape == (2, 2, 4)


def test_outputs_of_the_last_step_stay_where_sequences_are_whole() -> None:
    for rows, kept in ((("xx.", "x.x"), [0.0, 1.0]), (("xx.", "xxx"), None)):
        run = Run(Batch(ZERO, masked_at(*rows)), np.ones((2, 3, 4)), model_out=np.arange(2.0).reshape(2, 1, 1))
        _, side = without_masked_steps([model(single()), recorded(run)])
        assert side.trace
        made = side.trace.runs[ZERO].model_out
        assert (None if made is None else made.ravel().tolist()) == kept


def test_batches_of_one_input_share_it_again() -> None:
    x = masked_at("xx.", "x.x")
    zero, from_h0 = unmasked([model(single())], [Batch(ZERO, x), Batch(FROM_H0, x, (np.ones((2, 4)),))])
    assert zero.x is from_h0.x and from_h0.h0 is not None and from_h0.h0[0].shape == (2, 4)


def test_nothing_is_left_out_without_a_reason() -> None:
    whole, masked = Batch(ZERO, masked_at("xxx")), Batch(ZERO, masked_at("x.x"))
    assert unmasked([model(single())], [whole])[0] is whole
    assert unmasked([model(single(), None)], [masked])[0] is masked
    assert unmasked([model(single(), 1.5)], [masked])[0] is masked
    probe = Batch(PROBE, masked_at("."), (np.ones((1, 4)),))
    assert unmasked([model(single())], [probe])[0] is probe
    sides = [model(single(), None), recorded(Run(masked, np.ones((1, 3, 4))))]
    assert without_masked_steps(sides) == tuple(sides)


def test_another_value_masks_as_float32_holds_it() -> None:
    x = masked_at("xxx")
    x[0, 1] = np.float32(0.1)
    (batch,) = unmasked([model(single(), 0.1)], [Batch(ZERO, x)])
    assert batch.x.shape == (1, 2, 3)


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(InputsError, match=r"m\.h5 masks every step of the inputs; give others"):
        unmasked([model(single())], [Batch(ZERO, masked_at("..", ".."))])
    backward = stacked(3, [4, 4])
    backward = replace(backward, layers=(replace(backward.layers[0], time_restored=False), backward.layers[1]))
    with pytest.raises(InputsError, match="give inputs without masked steps"):
        unmasked([model(backward)], [Batch(ZERO, masked_at("x."))])
