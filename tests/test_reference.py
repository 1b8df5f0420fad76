"""The recurrence against one loop over steps, sequences and units, and the laws that it obeys."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import MERGES, batches, bidirectional, direction, edited, networks, single, stacked

from rnnverify import reference
from rnnverify.activations import ACTIVATIONS
from rnnverify.canonical import Array, Layer, Merge, Network
from rnnverify.reference import BLOCK
from rnnverify.trace import ZERO, Batch, Run

seeds = st.integers(0, 2**32 - 1)


def naive(network: Network, batch: Batch) -> tuple[Array, list[Array]]:
    """y (B, T, F) and the final states (B, H), one number at a time."""
    x = batch.x.astype(np.float64)
    states = list(batch.h0 or [np.zeros((len(x), d.hidden_size)) for _, _, d in network.directions()])
    finals = []
    for layer in network.layers:
        parts = []
        for d in layer.directions:
            h = states.pop(0).astype(np.float64)
            W, U = np.float64(d.kernel[0]), np.float64(d.recurrent_kernel[0])
            b = np.float64(d.bias_input[0]) + np.float64(d.bias_recurrent[0])
            emitted = []
            for t in range(x.shape[1]):
                now = x[:, x.shape[1] - 1 - t] if d.reverse else x[:, t]
                z = np.empty_like(h)
                for i in range(len(x)):
                    for j in range(d.hidden_size):
                        z[i, j] = b[j] + sum(now[i] * W[:, j]) + sum(h[i] * U[:, j])
                h = ACTIVATIONS[layer.activation](z)
                emitted.append(h)
            finals.append(h)
            if d.reverse and layer.time_restored:
                emitted.reverse()
            parts.append(np.stack(emitted, axis=1))
        if len(parts) == 1:
            x = parts[0]
        elif layer.merge == "concat":
            x = np.concatenate(parts, axis=2)
        else:
            x = {"sum": parts[0] + parts[1], "mul": parts[0] * parts[1], "ave": (parts[0] + parts[1]) / 2}[layer.merge]
    return x, finals


def check(network: Network, batch: Batch) -> Run:
    found = reference.run(network, [batch]).runs[batch.name]
    y, finals = naive(network, batch)
    for ours, theirs in zip((found.y, *found.h_n), (y, *finals), strict=True):
        assert (ours.shape, ours.dtype.name) == (theirs.shape, "float64")
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    return found


@given(networks(), seeds, st.integers(1, 3), st.integers(1, 6))
def test_any_network_is_the_naive_loop(network: Network, seed: int, B: int, T: int) -> None:
    for batch in batches(network, B, T, seed=seed):
        check(network, batch)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str) -> None:
    network = stacked(3, [4, 2]).with_activations((activation, "tanh"))
    for batch in batches(network, T=3):
        check(network, batch)


@pytest.mark.parametrize("merge", MERGES)
def test_every_merge(merge: Merge) -> None:
    network = bidirectional(3, 4, merge=merge)
    for batch in batches(network):
        run = check(network, batch)
        assert run.y.shape == (2, 5, network.output_size)


def test_a_backward_run_emits_in_the_order_of_its_steps_unless_time_is_restored() -> None:
    restored = single(reverse=True)
    processed = Network((replace(restored.layers[0], time_restored=False),))
    batch, _ = batches(restored)
    in_order, as_run = check(restored, batch), check(processed, batch)
    assert np.array_equal(in_order.y[:, ::-1], as_run.y)
    assert np.array_equal(as_run.y[:, -1], as_run.h_n[0])
    assert np.array_equal(in_order.y[:, 0], in_order.h_n[0])


@pytest.mark.parametrize("T", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1])
def test_around_the_ends_of_blocks(T: int) -> None:
    network = bidirectional(1, 2)
    for batch in batches(network, 1, T):
        check(network, batch)


def test_long_outputs_are_kept_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network((*bidirectional(3, 4).layers, *single(8, 2).layers))
    given_batches = batches(network, T=9)
    in_memory = reference.run(network, given_batches)
    assert type(in_memory.runs[ZERO].y) is np.ndarray
    monkeypatch.setattr(reference, "_IN_MEMORY", 0)
    on_disk = reference.run(network, given_batches)
    for name, run in on_disk.runs.items():
        assert isinstance(run.y, np.memmap)
        assert np.array_equal(run.y, in_memory.runs[name].y)


def test_a_network_that_diverges_is_a_result() -> None:
    network = edited(single(activation="relu"), recurrent_kernel=np.full((1, 4, 4), 1e30))
    assert not np.isfinite(run(network, batches(network, T=20)[0]).y).all()


def test_inputs_are_not_changed() -> None:
    network = bidirectional(merge="mul")
    both = batches(network)
    copies = [(b.x.copy(), [h.copy() for h in b.h0 or ()]) for b in both]
    reference.run(network, both)
    for batch, (x, h0) in zip(both, copies, strict=True):
        assert np.array_equal(batch.x, x)
        assert all(np.array_equal(a, b) for a, b in zip(batch.h0 or (), h0, strict=True))


def run(network: Network, batch: Batch) -> Run:
    return reference.run(network, [batch]).runs[batch.name]


@given(seeds, st.permutations(range(4)))
def test_permuted_units_leave_the_outputs_permuted(seed: int, order: list[int]) -> None:
    network = single(3, 4, seed=seed)
    d = network.layers[0].directions[0]
    permuted = edited(
        network,
        kernel=d.kernel[..., order],
        recurrent_kernel=d.recurrent_kernel[:, order][..., order],
        bias_input=d.bias_input[:, order],
        bias_recurrent=d.bias_recurrent[:, order],
    )
    batch, _ = batches(network)
    np.testing.assert_allclose(run(permuted, batch).y, run(network, batch).y[..., order], atol=1e-12)


@given(seeds)
def test_the_split_of_the_bias_does_not_matter(seed: int) -> None:
    network = single(3, 4, seed=seed)
    d = network.layers[0].directions[0]
    other = edited(network, bias_input=d.bias, bias_recurrent=np.zeros((1, 4)))
    for batch in batches(network):
        assert np.array_equal(run(other, batch).y, run(network, batch).y)


@given(seeds, st.sampled_from(MERGES))
def test_swapped_directions_on_reversed_time(seed: int, merge: Merge) -> None:
    rng = np.random.default_rng(seed)
    forward, backward = direction(rng, 3, 4), direction(rng, 3, 4, reverse=True)
    network = Network((Layer((forward, backward), merge=merge),))
    swapped = Network((Layer((replace(backward, reverse=False), replace(forward, reverse=True)), merge=merge),))
    batch, _ = batches(network)
    found = run(swapped, Batch(ZERO, batch.x[:, ::-1])).y[:, ::-1]
    wanted = run(network, batch).y
    if merge == "concat":
        wanted = np.concatenate([wanted[..., 4:], wanted[..., :4]], axis=2)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@given(seeds)
def test_tanh_is_odd(seed: int) -> None:
    network = single(3, 4, seed=seed)
    d = network.layers[0].directions[0]
    flipped = edited(network, kernel=-d.kernel, bias_input=-d.bias_input, bias_recurrent=-d.bias_recurrent)
    batch, _ = batches(network)
    assert np.array_equal(run(flipped, batch).y, -run(network, batch).y)


@given(seeds, st.integers(-8, 8))
def test_relu_scales_with_its_inputs_and_bias(seed: int, exponent: int) -> None:
    network = single(3, 4, seed=seed, activation="relu")
    d, factor = network.layers[0].directions[0], np.float32(2.0**exponent)
    scaled = edited(network, bias_input=d.bias_input * factor, bias_recurrent=d.bias_recurrent * factor)
    batch, _ = batches(network)
    found = run(scaled, Batch(ZERO, batch.x * factor)).y
    assert np.array_equal(found, run(network, batch).y * factor)
    if exponent and found.any():
        assert not np.array_equal(found, run(network, batch).y)
