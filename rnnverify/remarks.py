"""What these sizes and inputs cannot tell apart, or hardly, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rnnverify.canonical import Array, Network
from rnnverify.trace import PROBE, ZERO, Batch, Run, Trace

_STEPS = 256  # of which the states are looked at


def remarks(network: Network | None, trace: Trace, batches: Sequence[Batch], known: bool) -> tuple[str, ...]:
    """Sentences for the report; `trace` is what one side, best the one with `network`, computed.

    `known` says that the weights of both sides are, and need not be shown by what they do.
    """
    found = [*_about_inputs(batches)]
    if not known and not any(batch.name == PROBE for batch in batches):
        found.append("no one-step probes were run: a small error of a single weight may not show")
    if network:
        found += [*_about_weights(network), *_about_states(network, trace)]
    return tuple(found)


def _about_inputs(batches: Sequence[Batch]) -> Iterator[str]:
    B, T, _ = batches[0].x.shape
    typical = [batch for batch in batches if batch.name != PROBE]
    if T == 1:
        yield "the sequences have one step: what happens along time is not seen"
    elif B == T:
        yield f"as many sequences as steps ({T}): inputs with both axes swapped would fit in shape"
    if not any(np.any(batch.x) for batch in typical):
        yield "all input sequences are zero"


def _about_weights(network: Network) -> Iterator[str]:
    directions = [direction for _, _, direction in network.directions()]
    if not any(np.any(d.bias_magnitude) for d in directions):
        yield "all biases are zero: a bias that was dropped or added twice would change nothing"
    square = sorted({d.hidden_size for d in directions if d.hidden_size == d.input_size})
    if square:
        sizes = ", ".join(str(size) for size in square)
        yield f"as many inputs as units ({sizes}): a kernel transposed or swapped would fit in shape"


def _about_states(network: Network, trace: Trace) -> Iterator[str]:
    """Units that hardly show what happens to them; the states are those of the run from zero states."""
    run = trace.runs.get(ZERO)
    if run is None:
        return
    for (where, layer, direction), states in zip(network.directions(), _states(run), strict=False):
        if states.shape[2] != direction.state_size:
            return
        seen = np.abs(states[:, :_STEPS])
        dead = int((seen.max(axis=(0, 1)) == 0).sum())
        if dead:
            yield f"{where}: {_of(dead, direction.state_size)} are zero at every step"
        if layer.activation == "tanh" and layer.cell == "rnn":
            stuck = int((seen.min(axis=(0, 1)) > 0.999).sum())
            if stuck:
                yield f"{where}: {_of(stuck, direction.hidden_size)} are saturated at every step"


def _states(run: Run) -> Sequence[Array]:
    return run.states or (run.y,)


def _of(count: int, total: int) -> str:
    return f"{count} of {total} units"
