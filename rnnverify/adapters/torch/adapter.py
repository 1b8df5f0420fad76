"""PyTorch's nn.RNN, nn.GRU, nn.LSTM and their cells, to canonical form.

Layout (torch/nn/modules/rnn.py, 1.0.0 to 2.13.0): `weight_ih_l{k}` (G*H, I), `weight_hh_l{k}` (G*H, P),
`bias_ih_l{k}` and `bias_hh_l{k}` (G*H,), each again with `_reverse` where bidirectional; a layer above the first reads
D*P features, forward then reverse. A cell has the same four without `_l0`. `gates` has the gates. Whether an
nn.RNN has tanh or relu is not in a state dict, but a whole module or a graph states it (`facts`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from rnnverify.adapters.gate_order import in_order
from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.adapters.torch import around as torch_around
from rnnverify.adapters.torch import facts as torch_facts
from rnnverify.adapters.torch import gates as torch_gates
from rnnverify.adapters.torch import hand as torch_hand
from rnnverify.adapters.torch.gates import ORDERS
from rnnverify.adapters.torch.parts import Part, find_parts, select
from rnnverify.adapters.torch.weights import Weights, read_weights, suffixes
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, printable

_ROLES = {
    "weight_ih": "kernel (transposed)",
    "weight_hh": "recurrent kernel (transposed)",
    "bias_ih": "input bias",
    "bias_hh": "recurrent bias",
    "weight_hr": "projection (transposed)",
}


def read(contents: Contents, selector: str | None) -> Reading:
    """The part of `contents` that `selector` names (`encoder.rnn`, or a stack `enc+dec`), in canonical form.

    Raises SelectorError where the choice is not clear, UnsupportedError for tensors of types that are not read,
    FileError for tensors that are missing, misshapen or not finite.
    """
    parts = find_parts(contents)
    parts = torch_hand.cells(contents, selector, alone=not parts) | parts
    chosen = select(contents, parts, selector)
    weights = [read_weights(contents.path, part) for part in chosen]
    for (below, a), (above, b) in itertools.pairwise(zip(chosen, weights, strict=True)):
        if a.output_size != b.input_size:
            reads = f"{printable(above.name)} reads {b.input_size} features"
            found = f"{reads}, but {printable(below.name)} gives {a.output_size}"
            raise FileError(contents.path, found, "stack parts from the input up, separated by +")
    facts = [torch_facts.facts_of(contents, part) for part in chosen]
    layers: list[Layer] = []
    open_layers: list[int] = []
    for part, each, stated in zip(chosen, weights, facts, strict=True):
        torch_facts.check(contents.path, part, each, stated)
        activation = torch_facts.activation_of(each.kind, stated)
        open_layers += range(len(layers), len(layers) + each.layers) if activation is None else ()
        layers += _layers(part, each, activation or "tanh")
    roles: dict[str, str] = {}
    lowest = 0
    for part, each in zip(chosen, weights, strict=True):
        roles.update(_roles(part, each, lowest))
        lowest += each.layers
    network = Network(tuple(layers))
    around = torch_around.find(
        contents, parts, chosen, _within(contents, chosen[0].prefix), (network.input_size, network.output_size)
    )
    unused = _unused(contents, parts, {**roles, **around.roles})
    reading = Reading(
        network=network,
        recipe=_recipe(contents, chosen, weights),
        part="+".join(part.name for part in chosen),
        activation_stated=not open_layers,
        settled_layers=tuple(k for k in range(len(layers)) if k not in open_layers),
        roles=roles,
        unused=unused,
        not_compared=tuple(_layers_around(unused, parts)),
        assumptions=(*_assumptions(chosen, weights), *torch_facts.assumptions(list(zip(chosen, facts, strict=True)))),
        notes=(*_notes(contents, chosen), *torch_facts.notes(list(zip(chosen, facts, strict=True)))),
    )
    return around.beside(reading)


def _layers(part: Part, weights: Weights, activation: str) -> Iterator[Layer]:
    directions = suffixes(part.cell, weights.layers, weights.bidirectional)
    for k in range(weights.layers):
        pair = tuple(_direction(weights, suffix, reverse) for layer, reverse, suffix in directions if layer == k)
        name = part.name + ("" if part.cell else f" layer {k}" if part.name else f"layer {k}")
        yield Layer(pair, activation=activation, cell=weights.kind, name=name, gating=torch_gates.STANDARD)


def _direction(weights: Weights, suffix: str, reverse: bool) -> Direction:
    gates = {
        kind: torch_gates.apart(weights.tensors[f"{kind}{suffix}"], weights.kind)
        for kind in ("weight_ih", "weight_hh", *("bias_ih", "bias_hh") * weights.bias)
    }
    kernel = torch_gates.turned(gates["weight_ih"])  # (G, H, I) -> (G, I, H)
    zeros = np.zeros((len(kernel), weights.hidden_size), kernel.dtype)
    projection = weights.tensors.get(f"weight_hr{suffix}")
    return Direction(
        kernel,
        torch_gates.turned(gates["weight_hh"]),  # (G, H, P) -> (G, P, H)
        gates.get("bias_ih", zeros),
        gates.get("bias_hh", zeros),
        reverse,
        has_bias=weights.bias,
        rebuilt=any(f"{kind}{suffix}" in weights.rebuilt for kind in ("weight_ih", "weight_hh", "weight_hr")),
        projection=None if projection is None else projection.T,  # (P, H) -> (H, P)
    )


def _roles(part: Part, weights: Weights, lowest: int) -> Iterator[tuple[str, str]]:
    """Every tensor of `part`, and where it went; its first layer is layer `lowest` of the network."""
    for layer, reverse, suffix in suffixes(part.cell, weights.layers, weights.bidirectional):
        where = f"layer {lowest + layer}" + (" reverse" if reverse else "")
        for kind, role in _ROLES.items():
            gates = "" if kind == "weight_hr" else in_order(ORDERS[part.kind], "rows" * kind.startswith("weight"))
            forms = part.forms.get(f"{kind}{suffix}", {})
            for tensor in forms.values():
                if part.hand:
                    yield from _roles_by_hand(part, tensor.name, f"{where} {role}")
                else:
                    yield tensor.name, f"{where} {role}{gates}" + (", as size and direction" if len(forms) > 1 else "")


def _roles_by_hand(part: Part, name: str, role: str) -> Iterator[tuple[str, str]]:
    """The role of a tensor of a cell written by hand: one over both x and h has two; a bias it lacks is no tensor."""
    if part.hand["form"] == "matmul":
        role = role.removesuffix(" (transposed)")
    if "both" in torch_hand.uses(part) and "kernel" in role:
        role = f"{role.partition(' kernel')[0].removesuffix(' recurrent')} kernel and recurrent kernel (transposed)"
    if name:
        yield name, role


def _recipe(contents: Contents, chosen: list[Part], weights: list[Weights]) -> Recipe:
    """What the PyTorch runner makes: one module of torch.nn for each part, holding the file's own tensors."""
    tensors: dict[str, Array] = {}
    made: list[Mapping[str, object]] = []
    for part, each in zip(chosen, weights, strict=True):
        if part.hand:
            stored = torch_hand.uses(part)
            tensors.update({tensor.name: tensor.read() for tensor in stored.values()})
            made.append(_cell_by_hand(contents, part, each))
            continue
        root, prefix = _place(contents, part.prefix)
        tensors.update({part.prefix + key: values for key, values in each.tensors.items()})
        made.append(
            {
                "module": part.module,
                "input_size": each.input_size,
                "hidden_size": each.hidden_size,
                "num_layers": each.layers,
                "bidirectional": each.bidirectional,
                "bias": each.bias,
                "proj_size": each.state_size if part.projected else 0,
                "root": root,
                "prefix": prefix,
                "classes": contents.metadata.get("layers", ()),
                "files": contents.metadata.get("files", ()),
                "keys": {key: part.prefix + key for key in each.tensors},
            }
        )
    why_not = _why_not(
        contents, [p.prefix + key for p, each in zip(chosen, weights, strict=True) for key in each.rebuilt]
    )
    return Recipe("torch", tuple(made), tensors, loadable=not why_not, why_not=why_not)


def _why_not(contents: Contents, rebuilt: list[str]) -> str:
    """Why torch's own loader is not asked for the file; empty where it is. What an option would trust, ends here."""
    if reason := contents.metadata.get("not_loaded"):
        return str(reason)
    if refused := contents.metadata.get("refused_by_torch"):
        return f"torch.load(weights_only=True) refuses {printable(refused)}"
    return f"{printable(rebuilt[0])} is kept in two tensors, by weight_norm" if rebuilt else ""


def _cell_by_hand(contents: Contents, part: Part, weights: Weights) -> Mapping[str, object]:
    """What the runner makes of a cell written by hand: its own Linears, whole, as the file has them."""
    stored = torch_hand.uses(part)
    root, first = _place(contents, next(iter(stored.values())).name)
    beside = len(next(iter(stored.values())).name) - len(first)  # what comes before the names in the loaded dict
    return {
        "module": "Cell",
        "form": part.hand["form"],
        "input_size": weights.input_size,
        "hidden_size": weights.hidden_size,
        "num_layers": 1,
        "root": root,
        "prefix": "",
        "classes": (),
        "files": contents.metadata.get("files", ()),
        "keys": {tensor.name[beside:]: tensor.name for tensor in stored.values()},
        "uses": {use: tensor.name for use, tensor in stored.items()},
    }


def _within(contents: Contents, prefix: str) -> str:
    """What the names begin with of the state dict that holds `prefix`; empty where the file has but one."""
    roots = contents.metadata.get("roots")
    return max((r for r in roots if prefix.startswith(r)), key=len, default="") if isinstance(roots, Mapping) else ""


def _place(contents: Contents, prefix: str) -> tuple[list[object], str]:
    """The keys from the loaded object to the dict that holds the names under `prefix`, and the prefix of them there."""
    roots = contents.metadata.get("roots")
    if isinstance(roots, Mapping):
        start = _within(contents, prefix)
        return list(roots.get(start, [])), prefix[len(start) :]
    root = contents.metadata.get("root")
    return (list(root) if isinstance(root, list) else []), prefix


def _unused(contents: Contents, parts: dict[str, Part], roles: Mapping[str, str]) -> dict[str, str]:
    """Every tensor that has no role, and why. With `roles`, each tensor of the file comes once."""
    owner = {t.name: part for part in parts.values() for forms in part.forms.values() for t in forms.values()}
    unused = {}
    for name in contents.tensors:
        if name in owner and name not in roles:
            unused[name] = f"belongs to the part {printable(owner[name].name) or 'without a name'}, not selected"
        elif name not in roles:
            unused[name] = "no weight of a recurrent layer"
    return unused


def _layers_around(unused: Mapping[str, str], parts: dict[str, Part]) -> Iterator[str]:
    """The layers that hold the unused tensors, with their number: `fc (2 tensors)`."""
    recurrent = {t.name for part in parts.values() for forms in part.forms.values() for t in forms.values()}
    holders = Counter(name.rpartition(".")[0] for name in unused if name not in recurrent)
    for holder, count in holders.items():
        if holder:
            yield f"{printable(holder)} ({count} tensor{'s' if count > 1 else ''})"


def _assumptions(chosen: list[Part], weights: list[Weights]) -> Iterator[str]:
    for part, each in zip(chosen, weights, strict=True):
        if part.hand:
            yield str(part.hand["said"])
        for key, how in each.rebuilt.items():
            yield f"{printable(part.prefix + key)} is rebuilt as {how} does: size times direction over its norm"


def _notes(contents: Contents, chosen: list[Part]) -> Iterator[str]:
    yield from contents.notes
    dtypes = {t.dtype for part in chosen for forms in part.forms.values() for t in forms.values()}
    if "bfloat16" in dtypes:
        yield "weights are stored as bfloat16 and read as the float32 of equal value"
    if len(dtypes) > 1:
        yield f"weights are stored in several dtypes: {', '.join(sorted(dtypes))}"
