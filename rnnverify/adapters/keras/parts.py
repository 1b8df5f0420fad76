"""The recurrent parts of a Keras file: stacks of layers that feed each other directly, and which one is meant."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, permutations
from pathlib import Path

from rnnverify.adapters.keras.config import Address, Placed
from rnnverify.adapters.keras.layers import KerasLayer
from rnnverify.adapters.keras.masks import Mask
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, SelectorError, UnsupportedError, printable

Stack = tuple[KerasLayer, ...]

_TORCH_NAME = re.compile(r"(.+\.)?(weight|bias)(_(ih|hh)(_l\d+(_reverse)?)?)?", re.DOTALL)


@dataclass(frozen=True)
class Survey:
    """What a file holds, before one part of it is chosen."""

    stacks: tuple[Stack, ...]
    layers: Mapping[Address, str]  # every layer that has a place in the model -> its title, such as "Dense 'head'"
    refused: dict[Address, UnsupportedError] = field(default_factory=dict)  # vanilla, but not compared yet
    strange: dict[Address, UnsupportedError] = field(default_factory=dict)  # recurrent of other kinds
    notes: Mapping[Address, tuple[str, ...]] = field(default_factory=dict)  # what to know when a layer is compared
    masking: tuple[str, ...] = ()  # layers that mask steps
    masks: Mapping[Address, Mask] = field(default_factory=dict)  # of recurrent layers whose inputs tell masked steps
    unstated: Mapping[Address, tuple[str, ...]] = field(default_factory=dict)  # of weights alone: what is assumed
    placed: tuple[Placed, ...] = ()  # every layer of the model; empty for weights alone
    why_not: str = ""  # why Keras's own loader may not be tried


def sizes(contents: Contents, layer: KerasLayer) -> tuple[int, int]:
    """(inputs, outputs) of a layer, by the header of its kernel: (0, 0) where the header makes no sense."""
    kernel = contents.tensors.get(layer.tensors[0][0][0])
    wide = 2 if layer.merge_mode == "concat" else 1
    return (kernel.shape[0], wide * layer.cells[-1].units) if kernel and len(kernel.shape) == 2 else (0, 0)


def chains(contents: Contents, layers: Sequence[KerasLayer]) -> bool:
    """Whether each layer can read what the one before it gives: one sequence, as many features, time on one axis."""
    if any(layer.apart for layer in layers[:-1]) or len({layer.time_major for layer in layers}) > 1:
        return False
    ends = [sizes(contents, layer) for layer in layers]
    return all(below[1] == above[0] for below, above in pairwise(ends))


def stacks_of(placed: Sequence[Placed], readable: Mapping[Address, KerasLayer]) -> tuple[Stack, ...]:
    """The `readable` layers of a model, those that hand sequences straight to each other in one stack."""
    by_path = {layer.path: layer for layer in placed}
    below = {}
    for path in readable:
        source = _source(by_path[path], by_path)
        if (
            source is not None
            and source in readable
            and readable[source].return_sequences
            and readable[source].time_major == readable[path].time_major
            and len(by_path[source].feeds) < 2
        ):
            below[path] = source
    readers = Counter(below.values())
    above = {source: path for path, source in below.items() if readers[source] == 1}
    stacks = []
    for path in readable:
        if path not in above.values():
            stack = [path]
            while stack[-1] in above:
                stack.append(above[stack[-1]])
            stacks.append(tuple(readable[each] for each in stack))
    return tuple(stacks)


def _source(layer: Placed, by_path: Mapping[Address, Placed]) -> Address | None:
    """The layer whose output `layer` reads, past those that hand sequences on as they are; None where it is unclear."""
    climbed = 0
    while len(layer.feeds) == 1 and layer.feeds[0][1] == 0 and climbed < len(by_path):
        source = layer.feeds[0][0]
        if source not in by_path or not by_path[source].passes_through:
            return source
        layer, climbed = by_path[source], climbed + 1
    return None


def choose(contents: Contents, survey: Survey, selector: str | None) -> tuple[Stack, str]:
    """The part that `selector` names, or the only one there is, with its selector.

    A selector is the name of a part, of one layer, or `a+b` for layers stacked in that order. Raises
    `SelectorError` where it names none, or names are needed; `UnsupportedError` for a layer that is not compared.
    """
    stack, part = _chosen(contents, survey, selector)
    for layer in stack[:-1]:
        if layer.apart:
            found = f"Bidirectional {printable(layer.name)!r} hands two outputs (merge_mode None) to a recurrent layer"
            raise UnsupportedError(contents.path, f"{found}, which is not compared yet", "compare its layers by name")
    return stack, part


def _chosen(contents: Contents, survey: Survey, selector: str | None) -> tuple[Stack, str]:
    path = contents.path
    names = _names([*survey.layers])
    parts = {"+".join(names[layer.path] for layer in stack): stack for stack in survey.stacks}
    single = {names[layer.path]: layer for stack in survey.stacks for layer in stack}
    if selector is None:
        for error in [*survey.refused.values(), *([] if parts else survey.strange.values())]:
            raise error
        if len(parts) == 1:
            return next((stack, name) for name, stack in parts.items())
        raise _ask(contents, survey, parts)
    if selector in parts:
        return parts[selector], selector
    if selector in single:
        return (single[selector],), selector
    refused = {names[address]: error for address, error in (survey.refused | survey.strange).items()}
    wanted = selector.split("+")
    for name in [selector, *wanted]:
        if name in refused:
            raise refused[name]
    if not parts:
        raise next(iter([*survey.refused.values(), *survey.strange.values()]), _ask(contents, survey, parts))
    if not all(name in single for name in wanted) or len(set(wanted)) < len(wanted):
        raise SelectorError(path, f"no recurrent part is named {printable(selector)!r}", _offer(path, [*parts]))
    chosen = _fitting(contents, survey, [single[name] for name in wanted])
    if chosen is None:
        raise SelectorError(path, f"the layers of {printable(selector)!r} do not fit each other", "check their order")
    return chosen, selector


def _names(paths: Sequence[Address]) -> dict[Address, str]:
    """A layer's own name, with those of the models around it where another layer is called the same."""
    own = Counter(path[-1] for path in paths)
    return {path: path[-1] if own[path[-1]] == 1 else "/".join(path) for path in paths}


def _ask(contents: Contents, survey: Survey, parts: Mapping[str, Stack]) -> FileError:
    path = contents.path
    if not parts and contents.tensors and contents.framework != "keras":
        first = next(iter(contents.tensors), "")
        found = f"its tensor names, such as {printable(first)!r}, are {_whose(contents)}, not Keras's"
        return SelectorError(path, found, "leave the prefix keras: out, or give the file that Keras saved")
    if not parts:
        there = [*survey.layers.values()] or [f"array {printable(name)!r}" for name in contents.tensors]
        shown = ", ".join(there[:8]) + (", ..." if len(there) > 8 else "")
        found = f"holds no recurrent layer; it holds {shown or 'no layer at all'}"
        return SelectorError(path, found, "give the file of a recurrent model")
    return SelectorError(
        path, f"holds {len(parts)} recurrent parts", _offer(path, [*parts, *_joined(contents, survey, parts)])
    )


def _fitting(contents: Contents, survey: Survey, layers: Sequence[KerasLayer]) -> Stack | None:
    """`layers` where they fit each other; of weights alone also with directions summed, where sizes rule concat out."""
    if chains(contents, layers):
        return tuple(layers)
    summed = tuple(replace(layer, merge_mode="sum") if layer.merge_mode else layer for layer in layers)
    return summed if survey.unstated and chains(contents, summed) else None


def _joined(contents: Contents, survey: Survey, parts: Mapping[str, Stack]) -> list[str]:
    """The selector that stacks all parts, where their sizes leave one way, or fit in the order of weights alone."""
    if survey.unstated and _fitting(contents, survey, [layer for stack in parts.values() for layer in stack]):
        return ["+".join(parts)]
    if len(parts) != 2:
        return []
    orders = [order for order in permutations(parts) if chains(contents, [x for p in order for x in parts[p]])]
    return ["+".join(orders[0])] if len(orders) == 1 else []


def _whose(contents: Contents) -> str:
    torch = any(_TORCH_NAME.fullmatch(name) for name in contents.tensors)
    return {"torch": "PyTorch's", "tensorflow": "TensorFlow's"}.get(
        contents.framework or ("torch" if torch else ""), "another framework's"
    )


def _offer(path: Path, names: Sequence[str]) -> str:
    return "choose one: " + ", ".join(f"{printable(path, 300)}#{printable(name)}" for name in names)
