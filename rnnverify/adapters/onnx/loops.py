"""The cells that an ONNX graph writes out in the body of a Loop or Scan: SimpleRNN by tf2onnx, masked layers, TF 1.

A cell is found by what it does. The sums that go into its gates (`forms`) are put into the formula of each kind of
cell, and one step of that is computed beside one of the body, in float64 and with the file's own weights: only where
the two agree is the loop taken for that cell. So the order of the gates, their activations and where a bias goes need
no pattern of any converter.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnverify.adapters.onnx.body import LOOPS, Body, Carried, NotReadError
from rnnverify.adapters.onnx.cells import KINDS
from rnnverify.adapters.onnx.forms import Form, Forms, widths
from rnnverify.canonical import Array, Layer
from rnnverify.cells import recurrence
from rnnverify.containers.onnx_graph import Node, OnnxGraph
from rnnverify.containers.protobuf import MalformedError

_B = 24  # steps that are computed
_NEAR = 1e-6  # constants such as 0.2 are stored as float32


@dataclass(frozen=True, eq=False)
class LoopCell:
    """A Loop or Scan that is one recurrent layer, run forward."""

    node: Node
    layer: Layer
    leaves: tuple[tuple[str, str], ...]  # stored tensors, and what each of them is
    x: str  # the tensor (T, B, I) in the graph around, whose steps it reads
    y: str  # h of every step (T, B, H); empty where the loop does not give it
    initial: tuple[str, ...]  # what h, and c of an LSTM, start from
    finals: tuple[str, ...]  # h, and c of an LSTM, after the last step; empty names where they are not given
    states: tuple[int, ...]  # where h, and c, stand among what is carried
    after: str  # what the body calls h as a step leaves it
    masks: tuple[str, ...] = ()  # (T, B, 1) whether a step counts
    lengths: tuple[str, ...] = ()  # (B,) how many steps count


def find_loops(path: Path, graph: OnnxGraph) -> dict[int, LoopCell]:
    """Every loop of `graph` that is a cell, by the place of its node."""
    found = {}
    for node in graph.nodes:
        if node.op not in LOOPS or node.domain:
            continue
        try:
            cell = next(_cells(Body(path, graph, node)), None)
        except (NotReadError, MalformedError):
            continue
        if cell:
            found[node.index] = cell
    return found


def _cells(body: Body) -> Iterator[LoopCell]:
    for state, width in widths(body):
        forms = Forms(body, state, width)
        final = forms.final()
        if len(forms.x) != 1 or forms.missed or any(form.width != width for form in final.values()):
            continue
        (x,) = forms.x
        h = next(each for each in body.states if each.before == state)
        others = [each for each in body.states if each is not h]
        for kind, candidates in KINDS.items():
            for cell in others if kind == "lstm" else [None]:
                step = _Step(body, x, [h, cell] if cell else [h])
                layer = step.fitting(candidates(body, final))
                if layer:
                    yield _made(step, layer, list(final.values()))


class _Step:
    """A step of `body`, computed from random numbers: of `states`, h and c, and of the input called `x` in it."""

    def __init__(self, body: Body, x: str, states: Sequence[Carried]) -> None:
        self.body, self.x, self.states = body, x, states
        self._known: dict[str, Array] = {}

    def fitting(self, hypotheses: Iterator[Layer]) -> Layer | None:
        """The first layer that computes what the body computes; None where none does."""
        first = next(hypotheses, None)
        if first is None:
            return None
        given = self._random(first.input_size, first.hidden_size)
        names = [state.before for state in self.states]
        try:
            after = self._after(dict(given))
            kept = self._after(dict(given), running=False) if self.may_stop else [given[name] for name in names]
        except NotReadError:
            return None
        if not all(np.array_equal(array, given[name]) for name, array in zip(names, kept, strict=True)):
            return None
        for layer in itertools.chain([first], hypotheses):
            step = recurrence(layer, layer.directions[0])
            with np.errstate(all="ignore"):
                projected = step.project(given[self.x][:, None])[:, 0]
                expected = step.step(projected, tuple(given[name] for name in names))
            if all(
                a.shape == b.shape and np.allclose(a, b, _NEAR, _NEAR) for a, b in zip(after, expected, strict=True)
            ):
                return layer
        return None

    def _random(self, I: int, H: int) -> dict[str, Array]:
        """Inputs and states (B, I) and (B, H), small and large; also of what is carried beside h and c."""
        rng = np.random.default_rng(0)
        scales = np.geomspace(0.05, 4, _B)[:, None]
        carried = {each.before: rng.normal(size=(_B, H)) * scales for each in self.body.states}
        return {self.x: rng.normal(size=(_B, I)) * scales, **carried}

    def _after(self, given: dict[str, Array], *, running: bool = True) -> list[Array]:
        self._known = given
        return [self.body.evaluate(state.after, given, running=running) for state in self.states]

    @property
    def may_stop(self) -> bool:
        """Whether steps may not count for some sequences."""
        return bool(self.body.lengths or set(self.body.reads) - {self.x})

    def gives(self, I: int, H: int) -> str:
        """The tensor around the loop with h of every step; empty where there is none."""
        given = self._random(I, H)
        (h, *_) = self._after(given)
        for name, outer in self.body.emits.items():
            try:
                found = self.body.evaluate(name, given)
            except NotReadError:
                continue
            if outer and found.shape == h.shape and np.array_equal(found, h):
                return outer
        return ""


def _made(step: _Step, layer: Layer, forms: Sequence[Form]) -> LoopCell:
    body, x = step.body, step.body.reads[step.x]
    return LoopCell(
        node=body.node,
        layer=layer,
        leaves=tuple(dict.fromkeys(leaf for form in forms for leaf in form.leaves)),
        x=x,
        y=step.gives(layer.input_size, layer.hidden_size),
        initial=tuple(state.initial for state in step.states),
        finals=tuple(state.final for state in step.states),
        states=tuple(state.index for state in step.states),
        after=step.states[0].after,
        masks=tuple(dict.fromkeys(outer for outer in body.reads.values() if outer != x)),
        lengths=tuple(body.lengths),
    )
