"""Mistakes in how a right network is run: each takes a recorded run, and yields what a right one would have recorded.

The weights are not touched. A run hypothesis is proved where rounding explains the run so restored by the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Array, Network
from rnnverify.recorded import states_of
from rnnverify.trace import ZERO, Batch, Run

Runs = Iterator[tuple[str, Network, Run]]
"""Where, and a run that the network beside it should explain."""

Restore = Callable[[Network, Run], Runs]


def batch_and_time_swapped(network: Network, run: Run) -> Runs:
    """batch and time are swapped

    The batch was read as time: each sequence sees one step of all the others. Step 0 of sequence 0 is exact. Transpose
    input and output.

    Keras: x is (batch, time, features).
    PyTorch: set batch_first=True, or feed x.transpose(0, 1).
    TensorFlow: set time_major=False, or feed tf.transpose(x, [1, 0, 2]).
    """
    # pytorch/pytorch#1538, #19675 and #34036, Cadene/vqa.pytorch#40
    if run.batch.h0 is None and run.batch.x.shape[1] > 1:
        swapped = tuple(states.swapaxes(0, 1) for states in run.states)
        yield "", network, Run(Batch(ZERO, run.batch.x.swapaxes(0, 1)), run.y.swapaxes(0, 1), (), swapped)


def reshaped_to_time_major(network: Network, run: Run) -> Runs:
    """x is reshaped to (T, B, I) where it should be transposed

    reshape and view keep the order of the numbers in memory, and so mix sequences and steps. Transpose instead, the
    output likewise.

    Keras: write np.swapaxes(x, 0, 1).
    PyTorch: write x.transpose(0, 1), not x.view(T, B, I).
    TensorFlow: write tf.transpose(x, [1, 0, 2]), not tf.reshape.
    """
    # NervanaSystems/neon#311
    B, T = run.batch.x.shape[:2]
    if run.batch.h0 is None and min(B, T) > 1:

        def back(states: Array) -> Array:
            return np.asarray(states.reshape(T, B, -1).swapaxes(0, 1))

        batch = Batch(ZERO, back(run.batch.x))
        yield "", network, Run(batch, back(run.y), (), tuple(back(s) for s in run.states))
        yield "the input", network, Run(batch, run.y, (), run.states)


def state_carried(network: Network, run: Run) -> Runs:
    """the state is carried over from the sequence before

    The first sequence is exact, the next ones are off most at step 0. Begin each sequence with fresh zeros.

    Keras: call reset_states() between sequences, or leave out stateful=True.
    PyTorch: call rnn(x) without the state that the call before returned.
    TensorFlow: feed zeros as initial_state, not the last state.
    """
    # keras-team/keras#10231, #7224 and #15232
    if run.batch.h0 is not None:
        return
    finals, cells = _last_states(network, run)
    if len(run.y) > 1:
        h0, c0 = (tuple(np.concatenate([np.zeros_like(s[:1]), s[:-1]]) for s in each) for each in (finals, cells))
        batch = replace(run.batch, h0=h0, c0=c0 or None)
        yield "from one sequence to the next", network, replace(run, batch=batch)
    (first,) = reference.run(network, [run.batch]).runs.values()
    batch = replace(run.batch, h0=first.h_n, c0=first.c_n or None)
    yield "from an earlier call", network, replace(run, batch=batch)


def initial_state_ignored(network: Network, run: Run) -> Runs:
    """the initial state is ignored

    Runs from zeros agree, and runs from a given state begin at zeros too: off most at step 0. Hand the initial state
    on.

    Keras: initial_state= where the layer is called.
    PyTorch: rnn(x, h0).
    TensorFlow: initial_state= of dynamic_rnn.
    """
    batch = run.batch
    if batch.h0 is not None:
        yield "", network, replace(run, batch=replace(batch, h0=None, c0=None))
    if batch.h0 is not None and batch.c0 is not None:
        zeros, none = (tuple(np.zeros_like(s) for s in states) for states in (batch.h0, batch.c0))
        yield "that of c", network, replace(run, batch=replace(batch, c0=none))
        yield "that of h", network, replace(run, batch=replace(batch, h0=zeros))


def initial_states_exchanged(network: Network, run: Run) -> Runs:
    """the initial states h and c are exchanged

    Both have one shape, so nothing complains: runs from zeros agree, and runs from given states do not. Hand them on in
    the order of the framework.

    Keras: initial_state=[h, c].
    PyTorch: lstm(x, (h0, c0)).
    TensorFlow: LSTMStateTuple(c, h), and a state that is no tuple is [c, h].
    """
    # openvinotoolkit/openvino#13095
    batch = run.batch
    if batch.h0 and batch.c0 and [h.shape for h in batch.h0] == [c.shape for c in batch.c0]:
        yield "", network, replace(run, batch=replace(batch, h0=batch.c0, c0=batch.h0))


def layers_not_chained(network: Network, run: Run) -> Runs:
    """every layer reads the input, not the layer below

    The first layer is right, the others are wrong; it only fits where inputs and units are as many. Feed each layer
    with the outputs of the one below: x = layer(x).
    """
    # pytorch/pytorch#140928 and #157457: the pseudo-code of nn.RNN had this error
    h0, c0 = iter(run.batch.h0 or ()), iter(run.batch.c0 or ())
    given = list(states_of(network, run))
    if len(network.layers) < 2 or any(layer.input_size != network.input_size for layer in network.layers):
        return
    if len(given) < _count(network):
        top = network.layers[-1]  # of which alone the outputs are known
        skip = _count(network) - len(top.directions)
        last = tuple(list(h0)[skip:]) or None
        batch = replace(run.batch, h0=last, c0=_of_layer(network, list(c0)) if last else None)
        yield "", Network((top,)), Run(batch, run.y)
        return
    rest = iter(given)
    for k, layer in enumerate(network.layers):
        states = tuple(next(rest) for _ in layer.directions)
        start = tuple(next(h0) for _ in layer.directions) if run.batch.h0 else None
        cells = tuple(next(c0) for _ in layer.directions) if run.batch.c0 and layer.cell == "lstm" else None
        y = (
            run.y
            if k == len(network.layers) - 1
            else reference.merge(layer.merge, list(states))
            if states[1:]
            else states[0]
        )
        several = states if len(states) > 1 else ()
        yield (
            "",
            Network((layer,)),
            Run(replace(run.batch, h0=start, c0=cells), np.asarray(y, states[0].dtype), (), several),
        )


def final_state_of_last_step(network: Network, run: Run) -> Runs:
    """the final state of the reverse direction is taken from the last step

    A reverse direction ends at step 0: the output of the last step holds its first state, not its last. The forward
    half is exact. Take the final state itself.

    Keras: return_sequences=False, or return_state=True.
    PyTorch: h_n, or y[:, -1, :H] with y[:, 0, H:].
    TensorFlow: output_states, not outputs[:, -1].
    """
    # yunjey/pytorch-tutorial#149, aymericdamien/TensorFlow-Examples#201
    given = list(states_of(network, run))
    if not len(run.h_n) == len(given) == _count(network):
        return
    finals, changed = [], False
    for final, states, (_, layer, d) in zip(run.h_n, given, network.directions(), strict=True):
        wrong = d.reverse and layer.time_restored and np.array_equal(final, states[:, -1])
        finals.append(states[:, 0] if wrong else final)
        changed = changed or wrong
    if changed:
        yield "", network, replace(run, h_n=tuple(finals))


def padding_not_masked(network: Network, run: Run) -> Runs:
    """padded steps are masked on one side only

    Steps of zeros at the end leave the state as it was on one side, and are computed on the other. Carry the mask, or
    the lengths, over.

    Keras: Masking, or mask_zero=True of Embedding.
    PyTorch: pack_padded_sequence, with the lengths.
    TensorFlow: sequence_length= of dynamic_rnn.
    """
    # pytorch/pytorch#517, onnx/keras-onnx#386, onnx/tensorflow-onnx#1871
    B, T = run.batch.x.shape[:2]
    filled = np.any(run.batch.x != 0, axis=2)
    lengths = np.where(filled.any(axis=1), T - np.argmax(filled[:, ::-1], axis=1), 0)
    short = [b for b in range(B) if 0 < lengths[b] < T]
    if not short or not all(_is_held(run.y[b], int(lengths[b])) for b in short):
        return
    for length in sorted(set(lengths.tolist()) - {0}):
        chosen = lengths == length
        h0, c0 = (s and tuple(each[chosen] for each in s) for s in (run.batch.h0, run.batch.c0))
        batch = replace(run.batch, x=run.batch.x[chosen, :length], h0=h0, c0=c0)
        yield "", network, Run(batch, run.y[chosen, :length], (), tuple(s[chosen, :length] for s in run.states))


def _is_held(y: Array, length: int) -> bool:
    """Whether y (T, F) repeats the last state, or is zero, from `length` on."""
    return not np.any(y[length:]) or bool(np.all(y[length:] == y[length - 1]))


def _last_states(network: Network, run: Run) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The last h and c of every direction (B, P) and (B, H), where each sequence goes on from the one before.

    Those that were not recorded are computed, one sequence after the other.
    """
    given = list(states_of(network, run))
    h_n = run.h_n
    if not h_n and len(given) == _count(network):
        pairs = zip(given, network.directions(), strict=True)
        h_n = tuple(h[:, 0] if d.reverse and layer.time_restored else h[:, -1] for h, (_, layer, d) in pairs)
    if h_n and (run.c_n or not any(layer.cell == "lstm" for layer in network.layers)):
        return h_n, run.c_n
    h: tuple[Array, ...] | None = None
    c: tuple[Array, ...] | None = None
    found = []
    for k in range(len(run.y)):
        one = Batch(ZERO, run.batch.x[k : k + 1], h, c)
        (made,) = reference.run(network, [one]).runs.values()
        h, c = made.h_n, made.c_n or None
        found.append((made.h_n, made.c_n))
    computed, cells = ([np.concatenate(each) for each in zip(*side, strict=True)] for side in zip(*found, strict=True))
    return h_n or tuple(computed), run.c_n or tuple(cells)


def _of_layer(network: Network, c0: list[Array]) -> tuple[Array, ...] | None:
    """Of the initial cell states of all layers those of the last; None where it has none."""
    top = network.layers[-1]
    return tuple(c0[-len(top.directions) :]) if top.cell == "lstm" and c0 else None


def _count(network: Network) -> int:
    return sum(len(layer.directions) for layer in network.layers)
