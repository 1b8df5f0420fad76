"""The vanilla recurrences of a TensorFlow graph: which variables make up which cell, and how it computes.

A cell is found by what it does, whatever its variables are called: a product of a variable with a state, or with the
concatenation of an input and a state, where that state was computed by the same product one step before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from rnnverify.adapters.graph.activation import Product, Step, is_transposed, read_step
from rnnverify.adapters.graph.time import MERGES, Input, joins, reads_lengths, restores_time, trace_input
from rnnverify.adapters.graph.walk import PASSES, Bounded, Readers, joined, origin, origins, producers_near, stored
from rnnverify.canonical import Merge
from rnnverify.containers.tf_graph import Graph, Node, producer

_NEAR = 64  # nodes that are looked at to find what a step before did
_MOST_USES = 64  # products with one variable: an unrolled graph has one for each step


@dataclass(frozen=True)
class Recurrence:
    """How the graph uses the variables of one cell."""

    kernel: str  # (I+H, H) over a concatenation, or (I, H) beside `recurrent`
    recurrent: str = ""  # (H, H); empty where `kernel` is over a concatenation
    biases: tuple[str, ...] = ()
    state_first: bool = False  # the concatenation is [h, x], not [x, h]
    activation: str = ""  # empty: none that is known
    operations: tuple[str, ...] = ()  # that compute the activation
    reverse: bool | None = False  # None: the graph does not show in which order it reads the steps
    restored: bool = True  # the outputs come in the order of the input's steps
    lengths: bool = False  # sequences may end early, by a sequence_length
    residual: bool = False  # its input is added to its output
    joins: frozenset[tuple[str, str, int]] = frozenset()  # where its outputs meet others: node, operation, which input
    states: frozenset[str] = frozenset()  # the nodes that compute its state, one a step in an unrolled graph
    inputs: frozenset[str] = frozenset()  # the tensors that steps read beside the state
    gated: tuple[tuple[str, str], ...] = ()  # every variable of a gated cell, with its role
    forget_bias: float = 0.0
    cell_clip: float = 0.0  # 0: none
    gate_activation: str = "sigmoid"
    reset_after: bool | None = None  # of a GRU; None: as its layout has it

    @property
    def variables(self) -> dict[str, list[str]]:
        """Names by role, as `tensorflow_names.Cell` has them."""
        if self.gated:
            return {role: [name for other, name in self.gated if other == role] for role, _ in self.gated}
        roles = {"kernel": self.kernel, "recurrent_kernel": self.recurrent}
        named = {role: [name] for role, name in roles.items() if name}
        return {**named, **({"bias": list(self.biases)} if self.biases else {})}


def merged(forward: Recurrence, backward: Recurrence) -> tuple[Merge, bool] | None:
    """How the outputs of two directions are merged, and whether the forward one comes first; None where it does not
    show, or they are merged in several ways."""
    ways = {
        (MERGES[op], k < other_k)
        for name, op, k in forward.joins
        for other, _, other_k in backward.joins
        if name == other and k != other_k
    }
    return ways.pop() if len(ways) == 1 else None


def find_recurrences(graph: Graph) -> dict[str, set[Recurrence]]:
    """By the name of the kernel, every way in which the graph uses it in a recurrence: one, if it is a plain graph.

    Raises `TangledError` where that would take too long.
    """
    found: dict[str, list[Recurrence]] = {}
    uses: dict[str, int] = {}
    graph = Bounded(graph)
    readers = Readers(graph)
    for node in graph.values():
        if node.op != "MatMul" or is_transposed(node):
            continue
        weight = stored(graph, node.inputs[1])
        if weight is None or uses.setdefault(weight.name, 0) >= _MOST_USES:
            continue
        uses[weight.name] += 1
        for recurrence in _recurrences(graph, readers, node, weight.name):
            found.setdefault(recurrence.kernel, []).append(recurrence)
    return {kernel: apart(ways) for kernel, ways in found.items()}


def apart(ways: Iterable[Recurrence]) -> set[Recurrence]:
    """The ways that differ. In an unrolled graph each step has a place of its own: they count as those of all steps."""
    places: dict[Recurrence, Recurrence] = {}
    for way in ways:
        alike = without_place(way)
        known = places.get(alike, alike)
        joins, states = known.joins | way.joins, known.states | way.states
        places[alike] = replace(alike, joins=joins, states=states, inputs=known.inputs | way.inputs)
    return set(places.values())


def without_place(way: Recurrence) -> Recurrence:
    """What a way computes, wherever it stands in the graph."""
    return replace(way, joins=frozenset(), states=frozenset(), inputs=frozenset())


def _recurrences(graph: Graph, readers: Readers, product: Node, weight: str) -> Iterator[Recurrence]:
    concatenation = origin(graph, product.inputs[0])
    parts = joined(concatenation) if concatenation else ()
    parts = parts or product.inputs[:1]
    steps = [_step_before(graph, part, weight) for part in parts]
    states = [k for k, step in enumerate(steps) if step]
    if len(states) != 1 or len(parts) > 2:
        return
    at = states[0]
    tensor, step, choices = steps[at] or ("", Step(), [])
    others = [p for p in step.products if p.weight != weight]
    if len(step.products) != len(others) + 1 or len(others) != 2 - len(parts) or len(step.biases) > 1:
        return
    if others:
        x, before = others[0].left, others[0].left
    else:
        x, before = parts[1 - at], _input_before(graph, step, weight, at)
    read = trace_input(graph, x)
    reverse = reversed_in_time(read, trace_input(graph, before))
    state = producer(graph, tensor)
    assert state is not None
    yield Recurrence(
        kernel=others[0].weight if others else weight,
        recurrent=weight if others else "",
        biases=tuple(step.biases),
        state_first=len(parts) == 2 and at == 0,
        activation=step.activation,
        operations=step.operations,
        reverse=reverse,
        restored=not reverse or read.unrolled is not None or read.by_index or restores_time(readers, state),
        lengths=any(reads_lengths(graph, choice) for choice in choices),
        residual=is_added(graph, readers, state, x),
        joins=joins(readers, state),
        states=states_of(graph, readers, state, product, lambda node: _is_product(graph, node, weight)),
        inputs=frozenset({x}),
    )


def states_of(graph: Graph, readers: Readers, before: Node, here: Node, uses: Callable[[Node], bool]) -> frozenset[str]:
    """The states of a step and of the one before, which `before` computes; `here` is where the step `uses` the kernel.

    In a loop they are one. In an unrolled graph, no step has the last state before it.
    """
    near = (node for node in producers_near(graph, before, _NEAR) if uses(node))
    start = next(near, None)
    own = readers.alike(start, before, here) if start is not None and start is not here else []
    return frozenset({before.name, *(node.name for node in own)})


def _is_product(graph: Graph, node: Node, weight: str) -> bool:
    if node.op != "MatMul":
        return False
    found = stored(graph, node.inputs[1])
    return found is not None and found.name == weight


def _step_before(graph: Graph, part: str, weight: str) -> tuple[str, Step, list[Node]] | None:
    """Where `part` is a state: the tensor that the step before computed with `weight`, and how."""
    choices: list[Node] = []
    for tensor in origins(graph, part, choices):
        step = read_step(graph, tensor)
        if step and any(product.weight == weight for product in step.products):
            return tensor, step, choices
    return None


def _input_before(graph: Graph, step: Step, weight: str, at: int) -> str:
    """The input of the step before, which in an unrolled graph is another tensor than this step's."""
    left = next(Product(p.left, p.weight) for p in step.products if p.weight == weight).left
    concatenation = origin(graph, left)
    parts = joined(concatenation) if concatenation else ()
    return parts[1 - at] if len(parts) == 2 else left


def reversed_in_time(read: Input, before: Input) -> bool | None:
    """Whether steps are read from the last to the first; None where that is not to be seen."""
    if read.reverse is None:
        return None
    steps = read.unrolled, before.unrolled
    backwards = steps[0] is not None and steps[1] is not None and steps[0] < steps[1]
    return read.reverse != backwards


def is_added(graph: Graph, readers: Readers, state: Node, x: str) -> bool:
    """Whether the input of a step is added to its output, as a ResidualWrapper does."""
    source = origin(graph, x)
    for node, k, _ in readers.beyond(state, PASSES):
        if source is not None and node.op in ("Add", "AddV2") and origin(graph, node.inputs[1 - k]) == source:
            return True
    return False
