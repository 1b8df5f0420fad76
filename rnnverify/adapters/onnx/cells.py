"""What the sums in the body of a loop may be the gates of: every layer that could be meant, the likeliest first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.graph.activation import POINTS
from rnnverify.adapters.onnx.body import Body, NotReadError
from rnnverify.adapters.onnx.forms import Form, Key
from rnnverify.canonical import Array, CellKind, Direction, Gating, Layer

Candidates = Callable[[Body, Mapping[Key, Form]], Iterator[Layer]]

_LIKELY = ("tanh", "sigmoid", "relu", "linear")
_FUNCTIONS = (*_LIKELY, *(name for name in ACTIVATIONS if name not in _LIKELY))
_NEAR = 1e-6  # constants such as 0.2 are stored as float32
_ORDERS = (
    (0, 1, 2, 3),
    (0, 2, 1, 3),
)  # i, f, g, o among gates as Keras keeps them, and TensorFlow's cells (i, g, f, o)


def _rnn(body: Body, forms: Mapping[Key, Form]) -> Iterator[Layer]:
    both, rest = _sorted(forms)
    if len(both) == 1 and not rest:
        (key,) = both
        yield from (Layer((_direction([both[key]]),), act) for act in _functions(body, key))


def _lstm(body: Body, forms: Mapping[Key, Form]) -> Iterator[Layer]:
    both, rest = _sorted(forms)
    if len(both) != 4 or rest:
        return
    acts = [_function(body, key) or "linear" for key in both]
    sums = list(both.values())
    for output in (None, *_FUNCTIONS):
        for order in dict.fromkeys([*_ORDERS, *itertools.permutations(range(4))]):
            i, f, g, o = (acts[k] for k in order)
            if i == f == o and output != g:
                gating = Gating(i, output or "")
                yield Layer((_direction([sums[k] for k in order]),), g, "lstm", gating=gating)


def _gru(body: Body, forms: Mapping[Key, Form]) -> Iterator[Layer]:
    """Keras keeps z, r and the candidate, TensorFlow r and z."""
    both, rest = _sorted(forms)
    if len(both) != 2:
        return
    gates, sums = [_function(body, key) for key in both], list(both.values())
    if gates[0] != gates[1]:
        return
    alone = [form for form in rest.values() if form.other is None]
    x, h = ([form for form in alone if getattr(form, which) is not None] for which in ("x", "h"))
    after = len(rest) == 2 and len(x) == len(h) == 1
    key, last = next(((key, form) for key, form in rest.items() if form.other is not None), (("", 0), None))
    for r, z in (sums[::-1], sums):
        if after:
            candidate = Form(x[0].x, h[0].h, None, _only(x[0]), _only(h[0]), rounded=x[0].rounded or h[0].rounded)
            for act in _FUNCTIONS:
                yield Layer((_direction([r, z, candidate]),), act, "gru", gating=Gating(gates[0], "", True))
        elif last is not None and len(rest) == 1 and last.x is not None:
            candidate = Form(last.x, last.other, None, last.bias_input, last.bias_recurrent, rounded=last.rounded)
            for act in _functions(body, key):
                yield Layer((_direction([r, z, candidate]),), act, "gru", gating=Gating(gates[0], "", False))


KINDS: dict[CellKind, Candidates] = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}
"""For each kind of cell the layers that sums may be."""


def _sorted(forms: Mapping[Key, Form]) -> tuple[dict[Key, Form], dict[Key, Form]]:
    """The sums over an input and the state before, and all others."""
    both = {k: form for k, form in forms.items() if form.x is not None and form.h is not None and form.other is None}
    return both, {k: form for k, form in forms.items() if k not in both}


def _only(form: Form) -> Array | None:
    return form.bias_input if form.bias_recurrent is None else form.bias_recurrent


def _direction(sums: Sequence[Form]) -> Direction:
    def biases(which: str) -> Array:
        zeros = np.zeros(sums[0].width, sums[0].h.dtype if sums[0].h is not None else np.float32)
        return np.stack([zeros if (bias := getattr(form, which)) is None else bias for form in sums])

    has_bias = any(form.bias_input is not None or form.bias_recurrent is not None for form in sums)
    kernel, recurrent = (np.stack([getattr(form, which) for form in sums]) for which in ("x", "h"))
    rounded = any(form.rounded for form in sums)
    into, fed_back = biases("bias_input"), biases("bias_recurrent")
    return Direction(kernel, recurrent, into, fed_back, has_bias=has_bias, rebuilt=rounded)


def _functions(body: Body, key: Key) -> Sequence[str]:
    """The activation of a sum where it shows, else all there are."""
    found = _function(body, key)
    return (found,) if found else _FUNCTIONS


def _function(body: Body, key: Key) -> str:
    """What is done to each number of a sum before anything else comes in, by name; empty: nothing with a name."""
    tensor, _ = key
    made, name = {tensor}, ""
    known: dict[str, Array] = {tensor: POINTS[:, None]}
    for node in body.graph.nodes:
        data = [each for each in node.inputs if each and body.constant(each) is None]
        if not data or not made.issuperset(data):
            continue
        made.update(node.outputs)
        try:
            values = body.evaluate(node.output(0), known)
        except NotReadError:
            continue
        if values.shape == (len(POINTS), 1):
            named = (act for act in _FUNCTIONS if np.allclose(values[:, 0], ACTIVATIONS[act](POINTS), _NEAR, _NEAR))
            name = next((act for act in named if act != "linear"), name)
    return name
