"""What is said of a TensorFlow file beside its network: what was assumed, what was left over, what to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rnnverify.adapters.tensorflow.facts import Facts
from rnnverify.adapters.tensorflow.names import SHADOW, find_cells, is_keras, is_slot, shadowed
from rnnverify.adapters.tensorflow.parts import EMA, LayerCells, Selection
from rnnverify.containers.contents import Contents
from rnnverify.errors import printable


def leftovers(
    contents: Contents, selection: Selection, roles: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Why each tensor without a role was not compared, and what stands around the recurrent part."""
    shadows = selection.shadows
    parts = {
        name: cell
        for cells in selection.parts.values()
        for cell in cells
        for names in cell.variables.values()
        for name in names
    }
    followed = {shadowed(n, contents.tensors) for n in contents.tensors if n.endswith(SHADOW) and shadows}
    unused, around = {}, Counter[str]()
    for name in contents.tensors:
        if name in roles:
            continue
        if name.endswith(SHADOW) and not shadows:
            unused[name] = f"exponential moving average ({EMA} at the end of the selector takes it)"
        elif name in followed:
            unused[name] = "the moving average was selected in its place"
        elif name in parts:
            unused[name] = f"belongs to another recurrent part, {printable(parts[name].part)}"
            around[f"recurrent part {printable(parts[name].part)}"] += 1
        elif is_slot(name.removesuffix(SHADOW) if shadows else name, contents.tensors):
            unused[name] = "state of the optimizer or the trainer"
        else:
            unused[name] = "not part of a recurrent layer"
            around[printable(name.removesuffix(SHADOW).rpartition("/")[0] or name.removesuffix(SHADOW))] += 1
    return unused, tuple(f"{what} ({n} tensor{'s' * (n > 1)})" for what, n in around.items())


def assumptions(
    contents: Contents, facts: Facts, layer_cells: Sequence[LayerCells], selection: Selection
) -> tuple[str, ...]:
    """Facts that neither the names nor the graph state, other than the activation."""
    assumed = []
    known = [facts.of(cells[0], contents.tensors) for cells in layer_cells]
    if any(k.reverse is None and c[0].reverse is None for k, c in zip(known, layer_cells, strict=True) if k):
        assumed.append("the layers run forward in time: the graph does not show in which order steps are read")
    if any(is_keras(c[0]) and c[0].reverse is None and not k for k, c in zip(known, layer_cells, strict=True)):
        assumed.append("Keras cells run forward in time: their names do not say it")
    merges = [facts.merge(cells, contents.tensors) for cells in layer_cells if len(cells) == 2]
    if not all(merges):
        assumed.append("the two directions are concatenated, forward first")
    elif ("concat", False) in merges:
        assumed.append("the two directions are concatenated, forward first: the graph has the backward one first")
    if layer_cells[0][0].apart:
        way = "backward" if layer_cells[0][0].reverse else "forward"
        assumed.append(f"the {way} stack is compared by itself: the model merges its outputs with those of the other")
    if len(selection.names) > 1:
        assumed.append("each of the stacked parts reads every output of the one before")
    return tuple(assumed)


def notes(contents: Contents, facts: Facts, layer_cells: Sequence[LayerCells], selection: Selection) -> tuple[str, ...]:
    """What the user should know of the graph and of what else the file holds."""
    cells = {cell.scope: facts.of(cell, contents.tensors) for layer in layer_cells for cell in layer}
    shown = [known for known in cells.values() if known]
    missing = [scope for scope, known in cells.items() if not known]
    said = []
    if not selection.shadows and find_cells(contents.tensors, shadows=True):
        averages = f"{printable(contents.path, 300)}#{selection.selector}{EMA}"
        said.append(f"the file also holds exponential moving averages of recurrent weights: {printable(averages, 400)}")
    said.extend(facts.notes)
    if shown:
        said.append(f"activation, order of the kernel's rows and direction in time are those of {facts.source}")
    if facts.source and missing:
        said.append(f"{facts.source} does not show what {printable(', '.join(missing))} computes")
    if any(known.lengths for known in shown):
        said.append("its graph ends sequences early by a sequence_length; all steps are compared here")
    return tuple(said)
