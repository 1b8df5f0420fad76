"""The Embed before the cells of a Flax file, and the Dense layers behind them.

Embed has `embedding` (V, E), Dense, and nnx.Linear likewise, `kernel` (F, O) and mostly `bias` (O,)
(flax/linen/linear.py and flax/nnx/nn/linear.py, 0.12.8). A tree does not say which module feeds which: they are taken
where shapes leave one way, and every other parameter of the file belongs to them or to the cells.
"""

from __future__ import annotations

from collections.abc import Collection

from rnnverify.adapters.surroundings import BARE, Names, Surroundings, only_chain, surroundings
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.flax_names import keys_of

_ASIDE = ("opt_state", "optimizer", "batch_stats", "rngs")


def find(contents: Contents, recurrent: Collection[str], sizes: tuple[int, int]) -> Surroundings:
    """What stands around the cells, whose arrays are `recurrent`; `sizes` are of their input and output.

    Nothing where that cannot be told.
    """
    modules: dict[tuple[str, ...], dict[str, StoredTensor]] = {}
    for name, tensor in contents.tensors.items():
        keys = keys_of(name)
        if name not in recurrent and tensor.shape and not any(key in _ASIDE for key in keys):
            modules.setdefault(keys[:-1], {})[keys[-1] if keys else ""] = tensor
    dense, tables = [], []
    for place, weights in modules.items():
        layer = "/".join(place).removeprefix("params/")
        if set(weights) == {"embedding"}:
            tables.append(Names(layer, weights["embedding"].name))
        elif set(weights) in ({"kernel"}, {"kernel", "bias"}):
            bias = weights["bias"].name if "bias" in weights else ""
            dense.append(Names(layer, weights["kernel"].name, bias, stated=False))
        else:
            return BARE
    chain = only_chain(contents.tensors, dense, sizes[1])
    if len(tables) > 1 or (dense and not chain):
        return BARE
    embedding = tables[0] if tables else None
    return surroundings(contents.tensors, embedding, chain, *sizes, by_shape=True)
