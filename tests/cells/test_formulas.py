"""The steps of the reference against the formulas written out unit by unit, and against their own symmetries."""

import math
from dataclasses import replace

import numpy as np
import pytest
from networks import batches, gated, mixed

from rnnverify import reference
from rnnverify.canonical import Array, Direction, Gating, Layer, Network
from rnnverify.trace import Batch


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def sums(d: Direction, g: int, j: int, x: list[float], h: list[float]) -> tuple[float, float]:
    """What x and h each give to unit j of gate g, with their biases."""
    a = sum(value * float(d.kernel[g, i, j]) for i, value in enumerate(x)) + float(d.bias_input[g, j])
    b = sum(value * float(d.recurrent_kernel[g, i, j]) for i, value in enumerate(h)) + float(d.bias_recurrent[g, j])
    return a, b


def gru_by_hand(layer: Layer, x: list[float], h: list[float]) -> list[float]:
    d, units = layer.directions[0], range(len(h))
    r = [sigmoid(sum(sums(d, 0, j, x, h))) for j in units]
    z = [sigmoid(sum(sums(d, 1, j, x, h))) for j in units]
    if layer.gating.reset_after:
        n = [math.tanh(sums(d, 2, j, x, h)[0] + r[j] * sums(d, 2, j, x, h)[1]) for j in units]
    else:
        n = [math.tanh(sum(sums(d, 2, j, x, [r[k] * h[k] for k in units]))) for j in units]
    return [z[j] * h[j] + (1 - z[j]) * n[j] for j in units]


def lstm_by_hand(layer: Layer, x: list[float], h: list[float], c: list[float]) -> tuple[list[float], list[float]]:
    d, units = layer.directions[0], range(len(c))
    look = [[0.0] * len(c)] * 3 if d.peephole is None else d.peephole.tolist()
    out, new = [], []
    for j in units:
        i, f, g, o = (sum(sums(d, gate, j, x, h)) for gate in range(4))
        now = sigmoid(f + look[1][j] * c[j]) * c[j] + sigmoid(i + look[0][j] * c[j]) * math.tanh(g)
        limit = layer.gating.cell_clip
        new.append(max(-limit, min(limit, now)) if limit else now)
        out.append(sigmoid(o + look[2][j] * new[j]) * math.tanh(new[j]))
    if d.projection is None:
        return out, new
    return [sum(out[j] * float(d.projection[j, p]) for j in units) for p in range(d.state_size)], new


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_gru_by_hand(reset_after: bool) -> None:
    network = gated("gru", reset_after=reset_after)
    for run in reference.run(network, batches(network)).runs.values():
        h = [0.0] * 4 if run.batch.h0 is None else run.batch.h0[0][0].tolist()
        for t in range(run.y.shape[1]):
            h = gru_by_hand(network.layers[0], run.batch.x[0, t].tolist(), h)
            assert np.allclose(run.y[0, t], h, rtol=0, atol=1e-14)
        assert np.array_equal(run.h_n[0], run.y[:, -1]) and not run.c_n


@pytest.mark.parametrize("options", [{}, {"peepholes": True}, {"P": 2}, {"P": 3, "peepholes": True, "cell_clip": 0.3}])
def test_an_lstm_by_hand(options: dict[str, float]) -> None:
    network = gated("lstm", **options)  # type: ignore[arg-type]
    for run in reference.run(network, batches(network)).runs.values():
        d = network.layers[0].directions[0]
        h = [0.0] * d.state_size if run.batch.h0 is None else run.batch.h0[0][0].tolist()
        c = [0.0] * 4 if run.batch.c0 is None else run.batch.c0[0][0].tolist()
        for t in range(run.y.shape[1]):
            h, c = lstm_by_hand(network.layers[0], run.batch.x[0, t].tolist(), h, c)
            assert np.allclose(run.y[0, t], h, rtol=0, atol=1e-14)
        assert np.allclose(run.c_n[0][0], c, rtol=0, atol=1e-14)


def computed(network: Network, given: Batch) -> Array:
    return np.asarray(reference.run(network, [given]).runs[given.name].y)


def changed(network: Network, **fields: object) -> Network:
    layer = network.layers[0]
    first = replace(layer.directions[0], **fields)  # type: ignore[arg-type]
    return replace(network, layers=(replace(layer, directions=(first,)),))


def test_only_the_sum_of_biases_counts_but_for_the_candidate_of_a_gru_that_resets_after() -> None:
    for network, free in ((gated("lstm"), 4), (gated("gru"), 2), (gated("gru", reset_after=False), 3)):
        d, (_, given) = network.layers[0].directions[0], batches(network)
        before = computed(network, given)
        for gate in range(len(d.kernel)):
            b_ih, b_hh = d.bias_input.astype(np.float64), d.bias_recurrent.astype(np.float64)
            b_ih[gate] += 0.25
            b_hh[gate] -= 0.25
            moved = computed(changed(network, bias_input=b_ih, bias_recurrent=b_hh), given)
            assert np.allclose(moved, before, rtol=0, atol=1e-14) == (gate < free)


def test_what_decides_a_step_is_part_of_the_fingerprint() -> None:
    plain = gated("lstm")
    clipped = replace(plain, layers=(replace(plain.layers[0], gating=Gating(cell_clip=1.0)),))
    named = replace(plain, layers=(replace(plain.layers[0], gating=Gating(output="tanh")),))
    assert plain.fingerprint() == named.fingerprint() != clipped.fingerprint()
    gru = gated("gru")
    d = gru.layers[0].directions[0]
    swapped = changed(gru, bias_input=d.bias_recurrent, bias_recurrent=d.bias_input)
    assert gru.fingerprint() != swapped.fingerprint() and gru.kernel_fingerprint() == swapped.kernel_fingerprint()


def test_layers_of_several_kinds_on_top_of_each_other() -> None:
    network = mixed()
    (run,) = reference.run(network, batches(network)[1:]).runs.values()
    assert [h.shape[1] for h in run.h_n] == [4, 4, 5, 3] and [c.shape[1] for c in run.c_n] == [4, 4]
    assert network.state_sizes() == ([4, 4, 5, 3], [4, 4])


def test_gates_have_to_be_those_of_the_cell() -> None:
    one = gated("gru").layers[0].directions[0]
    with pytest.raises(ValueError, match="has 3 gates"):
        Layer((one,), cell="lstm")
    with pytest.raises(ValueError, match="neither peepholes nor a projection"):
        Layer((replace(one, peephole=np.zeros((3, 4), np.float32)),), cell="gru")
    with pytest.raises(ValueError, match="projection has shape"):
        replace(one, projection=np.zeros((3, 4), np.float32))
