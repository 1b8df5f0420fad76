"""The nn.Embedding before a recurrent part of a PyTorch file, and the nn.Linear layers behind it.

A state dict has `weight` (V, E) of an nn.Embedding, `weight` (O, F) and mostly `bias` (O,) of an nn.Linear
(torch/nn/modules/sparse.py and linear.py, 1.0.0 to 2.13.0), and does not say which layer feeds which. They are taken
where shapes leave one way: every other weight of the file belongs to the one recurrent part, to one table whose rows
it reads, or to Linears that follow from it in one order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnverify.adapters.surroundings import BARE, Names, Surroundings, only_chain, surroundings
from rnnverify.adapters.torch.parts import Part
from rnnverify.containers.contents import Contents, StoredTensor

_CLASSES = {"torch.nn.modules.sparse.Embedding": "table", "torch.nn.modules.linear.Linear": "dense"}
_ACTIVATIONS = {
    "ReLU": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "ELU": "elu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Dropout": "linear",
    "Identity": "linear",
}
_SEQUENTIAL = "torch.nn.modules.container.Sequential"


def find(
    contents: Contents, parts: Mapping[str, Part], chosen: Sequence[Part], within: str, sizes: tuple[int, int]
) -> Surroundings:
    """What stands around `chosen`, of the state dict whose names begin with `within`; `sizes` are of input and output.

    Nothing where that cannot be told.
    """
    of_parts = {t.name: part for part in parts.values() for forms in part.forms.values() for t in forms.values()}
    here = {name: tensor for name, tensor in contents.tensors.items() if name.startswith(within)}
    if any(of_parts[name] not in chosen for name in here if name in of_parts):
        return BARE
    layers: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in here.items():
        if name not in of_parts and tensor.shape:  # a number alone is a counter
            holder, _, kind = name.rpartition(".")
            layers.setdefault(holder, {})[kind] = tensor
    kinds = {holder: _kind(contents, holder, weights, sizes) for holder, weights in layers.items()}
    if "" in kinds.values():
        return BARE
    dense = [_names(layers[holder], holder) for holder, kind in kinds.items() if kind == "dense"]
    tables = [_names(layers[holder], holder) for holder, kind in kinds.items() if kind == "table"]
    chain = only_chain(contents.tensors, dense, sizes[1])
    if len(tables) > 1 or (dense and not chain):
        return BARE
    chain = [_activated(contents, names) for names in chain]
    embedding = tables[0] if tables else None
    return surroundings(contents.tensors, embedding, chain, *sizes, by_shape=True)


def _kind(contents: Contents, holder: str, weights: Mapping[str, StoredTensor], sizes: tuple[int, int]) -> str:
    """`table`, `dense`, or empty: by the class where the file states it, else by shapes, else by the name."""
    weight = weights.get("weight")
    if weight is None or len(weight.shape) != 2 or not set(weights) <= {"weight", "bias"}:
        return ""
    stated = _facts(contents, holder).get("class")
    if stated:
        return _CLASSES.get(str(stated), "")
    table = "bias" not in weights and weight.shape[1] == sizes[0]
    if table and sizes[0] == sizes[1]:
        return "table" if "emb" in holder.rpartition(".")[2].lower() else ""
    return "table" if table else "dense"


def _names(weights: Mapping[str, StoredTensor], holder: str) -> Names:
    bias = weights["bias"].name if "bias" in weights else ""
    return Names(holder, weights["weight"].name, bias, transposed=True, stated=False)


def _facts(contents: Contents, holder: str) -> Mapping[str, object]:
    modules = contents.metadata.get("modules")
    found = modules.get(holder + ".") if isinstance(modules, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _activated(contents: Contents, names: Names) -> Names:
    """With the activation of a whole module's nn.Sequential: what follows the Linear in it, up to the next one."""
    parent, _, number = names.layer.rpartition(".")
    if _facts(contents, parent).get("class") != _SEQUENTIAL or not number.isdigit():
        return names
    found = []
    k = int(number) + 1
    while (stated := str(_facts(contents, f"{parent}.{k}").get("class", ""))) and _CLASSES.get(stated) != "dense":
        found.append(_ACTIVATIONS.get(stated.rpartition(".")[2], ""))
        k += 1
    changing = [name for name in found if name != "linear"]
    last = not stated
    if "" in changing or len(changing) > 1 or (last and not changing):
        return names
    return Names(names.layer, names.kernel, names.bias, transposed=True, activation=(changing or ["linear"])[0])
