"""Flax's recurrent cells, linen and nnx, to canonical form: `cells` tells them, `weights` has the layouts."""

from __future__ import annotations

import itertools

from rnnverify.adapters.flax import around as flax_around
from rnnverify.adapters.flax.cells import cells_in
from rnnverify.adapters.flax.weights import read_weights
from rnnverify.adapters.jax.reading import reading_of
from rnnverify.adapters.jax.restate import restate
from rnnverify.adapters.reading import Reading
from rnnverify.containers.contents import Contents
from rnnverify.errors import SelectorError, printable

__all__ = ["read", "restate"]


def read(contents: Contents, selector: str | None) -> Reading:
    """The part of `contents` that `selector` names (`encoder`, a stack `a+b`, a pair `a,b`), in canonical form.

    Raises SelectorError where the choice is not clear, UnsupportedError for other cells, FileError for arrays that are
    missing, misshapen or not finite.
    """
    cells = cells_in(contents)
    if not cells:
        names = ", ".join(printable(name, 60) for name in itertools.islice(contents.tensors, 6))
        more = ", ..." if len(contents.tensors) > 6 else ""
        found = f"has no cell as Flax names them, such as cell/i/kernel beside cell/h/kernel; it has {names or 'none'}"
        raise SelectorError(contents.path, found + more, "give the parameters of a model with nn.RNN, or a trace of it")
    return reading_of(contents, "flax", cells, read_weights, flax_around.find, selector)
