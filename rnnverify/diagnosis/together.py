"""Many networks run at once on the same inputs: what they share is computed once, and the rest side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from rnnverify.activations import activation as activation_of
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.cells import Recurrence, gru, lstm
from rnnverify.cells.recurrence import side_by_side
from rnnverify.trace import Batch

_SHARED = 12  # inputs: a direction that reads at least so many is one product, others are stacked
_STACKED = 2**17  # numbers of stacked weights at a time: what a cache holds


@dataclass(frozen=True)
class _Task:
    """One direction, in its layer, on one of the inputs."""

    read: int
    layer: Layer
    direction: Direction
    h0: Array | None  # (B, H)
    c0: Array | None  # (B, H) of an LSTM
    before: Array | None  # (B, T, H): its recorded states as emitted, each of which the step after it starts from

    @property
    def key(self) -> object:
        return self.read, id(self.direction), self.layer.formula, self.layer.time_restored

    @property
    def formula(self) -> str:
        """What tasks that are run side by side have in common, where their cells have gates; else only sorted by it."""
        d = self.direction
        return str((*self.layer.formula, d.peephole is None, d.projection is None))


def outputs(networks: Sequence[Network], batch: Batch, recorded: Array | None = None) -> Array:
    """The outputs (C, B, T, F) in float64 of C networks of the same shapes.

    With `recorded` outputs (B, T, F) each step of the top layer starts from the state recorded before it, where these
    can be told from the outputs.
    """
    x = batch.x.astype(np.float64)[None]  # the different inputs of a layer (N, B, T, I)
    read = [0] * len(networks)  # which of them each network has there
    h0, c0 = iter(batch.h0 or ()), iter(batch.c0 or ())
    depth = len(networks[0].layers)
    for k in range(depth):
        layers = [network.layers[k] for network in networks]
        width, ways = layers[0].hidden_size, len(layers[0].directions)
        starts = [next(h0, None) for _ in range(ways)]
        cells = [next(c0, None) if layers[0].cell == "lstm" else None for _ in range(ways)]
        vanilla = layers[0].cell == "rnn"
        top = vanilla and k == depth - 1 and recorded is not None and layers[0].output_size == ways * width
        befores = [
            recorded[..., j * width : (j + 1) * width] if top and recorded is not None else None for j in range(ways)
        ]
        tasks: dict[object, tuple[int, _Task]] = {}
        which = [
            tuple(
                tasks.setdefault(task.key, (len(tasks), task))[0]
                for task in (
                    _Task(n, layer, *each) for each in zip(layer.directions, starts, cells, befores, strict=True)
                )
            )
            for layer, n in zip(layers, read, strict=True)
        ]
        states = _run_all([task for _, task in tasks.values()], x)
        x, read = _merged(layers, which, states)
    return x[read]


def _run_all(tasks: Sequence[_Task], x: Array) -> Array:
    """The states (n, B, T, H) of every task, as emitted."""
    y = np.empty((len(tasks), *x.shape[1:3], tasks[0].direction.state_size))
    run = _run if tasks[0].layer.cell == "rnn" else _run_gated
    for some in _blocks(tasks):
        y[some] = run([tasks[k] for k in some], x)
    return y


def _blocks(tasks: Sequence[_Task]) -> Iterator[list[int]]:
    """Tasks that are run side by side: those of one direction where it has many inputs, then all others."""
    by_direction: dict[object, list[int]] = {}
    for k, task in enumerate(tasks):
        by_direction.setdefault((id(task.direction), task.formula), []).append(k)
    rest: list[int] = []
    for some in by_direction.values():
        if len(some) >= _SHARED:
            yield some
        else:
            rest += some
    rest.sort(key=lambda k: tasks[k].formula)
    d = tasks[0].direction
    length = max(1, _STACKED // (d.kernel.size + d.recurrent_kernel.size))
    one_formula = tasks[0].layer.cell != "rnn"
    for _, group in groupby(rest, key=lambda k: tasks[k].formula if one_formula else ""):
        same = list(group)
        yield from (same[start : start + length] for start in range(0, len(same), length))


def _run(tasks: Sequence[_Task], x: Array) -> Array:
    """The states (n, B, T, H), as emitted; tasks of one activation stand together."""
    n, (B, T, I), H = len(tasks), x.shape[1:], tasks[0].direction.hidden_size
    seen = np.empty((n, B, T, I))
    for k, task in enumerate(tasks):
        seen[k] = x[task.read][:, ::-1] if task.direction.reverse else x[task.read]
    h = np.zeros((n, B, H))
    for k, task in enumerate(tasks):
        if task.h0 is not None:
            h[k] = task.h0
    d = tasks[0].direction
    if all(task.direction is d for task in tasks):  # one product for all inputs
        seen, h, (kernel, recurrent, bias) = seen.reshape(1, n * B, T, I), h.reshape(1, n * B, H), _stacked([d])
    else:
        kernel, recurrent, bias = _stacked([task.direction for task in tasks])
    m, rows = h.shape[:2]
    steps = (np.moveaxis(seen, 2, 1).reshape(m, T * rows, I) @ kernel + bias[:, None]).reshape(m, T, rows, H)
    activations = _slices([task.layer.activation for task in tasks], m)
    if tasks[0].before is not None:
        given = np.concatenate(
            [h.reshape(n, B, 1, H), np.stack([_processed(task) for task in tasks])[:, :, :-1]], axis=2
        )
        steps += (np.moveaxis(given.reshape(m, rows, T, H), 2, 1).reshape(m, T * rows, H) @ recurrent).reshape(
            steps.shape
        )
        for some, activation in activations:
            steps[some] = activation(steps[some])
    else:
        for t in range(T):
            z = steps[:, t] + h @ recurrent
            for some, activation in activations:
                z[some] = activation(z[some])
            steps[:, t] = h = z
    y = np.moveaxis(steps, 1, 2).reshape(n, B, T, H)
    for k, task in enumerate(tasks):
        if task.direction.reverse and task.layer.time_restored:
            y[k] = y[k, :, ::-1].copy()
    return y


def _run_gated(tasks: Sequence[_Task], x: Array) -> Array:
    """The same of cells with gates, all of one formula."""
    n, (B, T, I) = len(tasks), x.shape[1:]
    seen = np.stack([x[task.read][:, ::-1] if task.direction.reverse else x[task.read] for task in tasks])
    first, layer = tasks[0].direction, tasks[0].layer
    states = [_starts([task.h0 for task in tasks], B, first.state_size)]
    if layer.cell == "lstm":
        states.append(_starts([task.c0 for task in tasks], B, first.hidden_size))
    if all(task.direction is first for task in tasks):  # one product for all inputs
        seen, states = seen.reshape(1, n * B, T, I), [s.reshape(1, n * B, -1) for s in states]
        formula = _formula(layer, [first])
    else:
        formula = _formula(layer, [task.direction for task in tasks])
    m, rows = seen.shape[:2]
    projected = formula.project(np.moveaxis(seen, 2, 1).reshape(m, T * rows, I)).reshape(m, T, rows, -1)
    y = np.empty((m, rows, T, first.state_size))
    state = tuple(states)
    for t in range(T):
        state = formula.step(projected[:, t], state)
        y[:, :, t] = state[0]
    y = y.reshape(n, B, T, -1)
    for k, task in enumerate(tasks):
        if task.direction.reverse and task.layer.time_restored:
            y[k] = y[k, :, ::-1].copy()
    return y


def _starts(given: Sequence[Array | None], B: int, width: int) -> Array:
    return np.stack([np.zeros((B, width)) if s is None else s.astype(np.float64) for s in given])


def _formula(layer: Layer, directions: Sequence[Direction]) -> Recurrence:
    """The step of all of `directions`, their weights along a first axis."""
    kernel, recurrent = (
        np.stack([side_by_side(getattr(d, name)) for d in directions]) for name in ("kernel", "recurrent_kernel")
    )
    if layer.cell == "gru":
        one, other = (
            np.stack([side_by_side(getattr(d, name)) for d in directions])[:, None]
            for name in ("bias_input", "bias_recurrent")
        )
        return gru.formula(layer, kernel, recurrent, one, other)
    peepholes = [d.peephole for d in directions if d.peephole is not None]
    projections = [d.projection for d in directions if d.projection is not None]
    return lstm.formula(
        layer,
        kernel,
        recurrent,
        np.stack([side_by_side(d.bias) for d in directions])[:, None],
        np.stack(peepholes, axis=1)[:, :, None].astype(np.float64) if peepholes else None,
        np.stack(projections).astype(np.float64) if projections else None,
    )


def _processed(task: _Task) -> Array:
    """The recorded states of `task` in the order of processing."""
    assert task.before is not None
    return task.before[:, ::-1] if task.direction.reverse and task.layer.time_restored else task.before


def _stacked(directions: Sequence[Direction]) -> tuple[Array, Array, Array]:
    kernels = np.stack([d.kernel[0] for d in directions]).astype(np.float64)
    recurrent = np.stack([d.recurrent_kernel[0] for d in directions]).astype(np.float64)
    return kernels, recurrent, np.stack([d.bias[0] for d in directions])


def _slices(names: Sequence[str], m: int) -> list[tuple[slice, Callable[[Array], Array]]]:
    """Where each activation stands among m, in order."""
    if m == 1:
        return [(slice(None), activation_of(names[0]))]
    starts = [k for k, name in enumerate(names) if not k or name != names[k - 1]]
    return [(slice(a, b), activation_of(names[a])) for a, b in zip(starts, [*starts[1:], m], strict=True)]


def _merged(layers: Sequence[Layer], which: Sequence[tuple[int, ...]], states: Array) -> tuple[Array, list[int]]:
    """The different outputs (N, B, T, F) of a layer, and which of them each network has."""
    if len(which[0]) == 1:
        return states, [n for (n,) in which]
    made: dict[object, int] = {}
    read = [made.setdefault((*pair, layer.merge), len(made)) for layer, pair in zip(layers, which, strict=True)]
    return np.stack([_pair(states[a], states[b], merge) for a, b, merge in made]), read  # type: ignore[misc,has-type]


def _pair(forward: Array, reverse: Array, merge: str) -> Array:
    if merge == "concat":
        return np.concatenate([forward, reverse], axis=2)
    return forward * reverse if merge == "mul" else (forward + reverse) * (0.5 if merge == "ave" else 1.0)
