"""Write a Flax file: the state of real cells under nn.RNN and nn.Bidirectional, by flax.serialization or flat.

Layers of the request, bottom to top: {"api": "linen" | "nnx", "cell": class, "input_size", "hidden_size", "dtype",
"directions": [{parameter: tensor name}]}, the second direction being the backward one. A parameter is "module/kernel"
or "module/bias"; a tensor name is the keys that lead to it, joined by "/". The form ends in "npz" or "safetensors"
where the tree is kept flat.
"""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from typing import Any

import flax
import jax
import numpy as np
from exchange import load_tensors
from flax import linen, nnx, serialization, traverse_util


def write(job: dict[str, Any]) -> Any:
    tensors = {name: np.array(array) for name, array in load_tensors(job).items()}
    jax.config.update("jax_enable_x64", any(spec["dtype"] == "float64" for spec in job["layers"]))
    flat: Any = {}
    for spec in job["layers"]:
        for weights, state in zip(spec["directions"], STATES[spec["api"]](spec)):
            held = {key: tensors[name] for key, name in weights.items()}
            check(spec, held, traverse_util.flatten_dict(state, sep="/"))
            restored = serialization.from_state_dict(state, traverse_util.unflatten_dict(held, sep="/"))
            for key, array in traverse_util.flatten_dict(restored, sep="/").items():
                flat[weights[key]] = array
    how = save(flat, job["write"]["path"], job["write"]["form"].rpartition(".")[2])
    return {"written": how, "versions": {"flax": flax.__version__, "jax": jax.__version__}}


def linen_states(spec: Any) -> Any:
    """The parameters that nn.RNN, or nn.Bidirectional, makes for each of its cells: shapes only."""
    x = jax.ShapeDtypeStruct((1, 1, spec["input_size"]), spec["dtype"])
    cells = [getattr(linen, spec["cell"])(spec["hidden_size"], param_dtype=spec["dtype"]) for _ in spec["directions"]]
    driven = [linen.RNN(cell) for cell in cells]
    module = driven[0] if len(driven) == 1 else linen.Bidirectional(*driven)
    made = jax.eval_shape(module.init, jax.random.PRNGKey(0), x)["params"]
    return [made["cell"]] if len(driven) == 1 else [made[side]["cell"] for side in ("forward_rnn", "backward_rnn")]


def nnx_states(spec: Any) -> Any:
    """The same of nnx."""
    sizes, make = (spec["input_size"], spec["hidden_size"]), getattr(nnx, spec["cell"])

    def cell() -> Any:
        return make(*sizes, param_dtype=spec["dtype"], rngs=nnx.Rngs(0))

    return [nnx.to_pure_dict(nnx.state(nnx.eval_shape(cell), nnx.Param)) for _ in spec["directions"]]


STATES = {"linen": linen_states, "nnx": nnx_states}


def check(spec: Any, held: Any, wanted: Any) -> None:
    """Flax's own restoring compares keys alone, neither shapes nor dtypes."""
    facts = [{key: (tuple(array.shape), str(array.dtype)) for key, array in each.items()} for each in (held, wanted)]
    if facts[0] != facts[1]:
        raise ValueError("%s.%s has %s, wanted %s" % (spec["api"], spec["cell"], facts[1], facts[0]))


def save(flat: Any, path: str, form: str) -> str:
    if form == "safetensors":
        from safetensors.flax import save_file

        save_file({name: jax.numpy.asarray(array) for name, array in flat.items()}, path)
        return "safetensors.flax.save_file"
    with open(path, "wb") as file:
        if form == "npz":
            np.savez(file, **flat)
            return "numpy.savez of flax.traverse_util.flatten_dict"
        file.write(serialization.to_bytes(traverse_util.unflatten_dict(flat, sep="/")))
    return "flax.serialization.to_bytes"
