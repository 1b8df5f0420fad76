"""Write an Equinox file: equinox.tree_serialise_leaves of a list of cells.

Layers of the request, bottom to top: {"cell": "GRUCell" | "LSTMCell", "input_size", "hidden_size", "dtype",
"directions": [{field: tensor name}]}; the list has the cells of all layers in that order.
"""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from typing import Any

import equinox
import jax
from exchange import load_tensors


def write(job: dict[str, Any]) -> Any:
    tensors = load_tensors(job)
    jax.config.update("jax_enable_x64", any(spec["dtype"] == "float64" for spec in job["layers"]))
    cells = [cell(spec, weights, tensors) for spec in job["layers"] for weights in spec["directions"]]
    with open(job["write"]["path"], "wb") as file:
        equinox.tree_serialise_leaves(file, cells)
    versions = {"equinox": equinox.__version__, "jax": jax.__version__}
    return {"written": "equinox.tree_serialise_leaves", "versions": versions}


def cell(spec: Any, weights: Any, tensors: Any) -> Any:
    """A cell of the class with the weights of one direction in its fields."""
    options = {"use_bias": "bias" in weights, "dtype": jax.numpy.dtype(spec["dtype"]), "key": jax.random.PRNGKey(0)}
    made = getattr(equinox.nn, spec["cell"])(spec["input_size"], spec["hidden_size"], **options)
    for field, name in weights.items():
        array, like = jax.numpy.asarray(tensors[name]), getattr(made, field)
        found, wanted = [(each.shape, str(each.dtype)) for each in (like, array)]
        if found != wanted:
            raise ValueError("%s of %s is %s, wanted %s" % (field, spec["cell"], found, wanted))
        made = equinox.tree_at(lambda c, field=field: getattr(c, field), made, array)
    return made
