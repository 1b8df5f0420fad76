"""Which variables of a TensorFlow 1 checkpoint make up which recurrent cell: names say it, nothing else does.

    version     BasicRNNCell in dynamic_rnn             MultiRNNCell                bidirectional
    0.6-0.12    RNN/BasicRNNCell/Linear/{Matrix,Bias}   RNN/MultiRNNCell/Cell0/     BiRNN/FW/, BiRNN_FW/
    1.0, 1.1    rnn/basic_rnn_cell/{weights,biases}     rnn/multi_rnn_cell/cell_0/  bidirectional_rnn/fw/
    1.2-2.21    rnn/basic_rnn_cell/{kernel,bias}        rnn/multi_rnn_cell/cell_0/  bidirectional_rnn/fw/
    1.15-2.21   rnn/while/simple_rnn_cell/{kernel,recurrent_kernel,bias} for a Keras cell

(tensorflow/python/ops/rnn_cell_impl.py and rnn.py; before 1.0 rnn_cell.py. contrib/rnn/python/ops/rnn.py
names stacks of bidirectional layers `stack_bidirectional_rnn/cell_0/bidirectional_rnn/fw/`, or in 0.12
`StackRNN/Layer0/BiRNN/FW/`.)
A user's scopes stand in front, and `scope=` takes the place of the first word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from rnnverify.adapters.tensorflow.kinds import gated_variable, kind_of
from rnnverify.errors import printable

_OF_LAYERS = ("kernel", "weights", "weight", "Matrix", "embeddings")  # that name a variable of a layer, and no layer
SHADOW = "/ExponentialMovingAverage"  # tensorflow/python/training/moving_averages.py

_VANILLA = re.compile(
    r"(?:(?P<scope>.+)/)?(?P<cell>(?:basic_rnn_cell|BasicRNNCell|simple_rnn_cell)(?:_\d+)?)/"
    r"(?P<variable>kernel|bias|weights|biases|recurrent_kernel|Linear/Matrix|Linear/Bias)"
)
_ROLE = {
    "kernel": "kernel",
    "weights": "kernel",
    "Linear/Matrix": "kernel",
    "recurrent_kernel": "recurrent_kernel",
    "bias": "bias",
    "biases": "bias",
    "Linear/Bias": "bias",
}
_GATED = re.compile(r"gru|lstm|ugrnn|intersection|nas|sru", re.IGNORECASE)
_CELL = re.compile(r"cell|wrapper", re.IGNORECASE)
_LOOP = re.compile(r"(?:^|/)while(?:_\d+)?(?=/|$)")
_MULTI = re.compile(
    r"(?P<part>(?P<outer>.*?)(?:^|/)(?:multi_rnn_cell|MultiRNNCell)(?:_\d+)?)/(?:cell_|Cell)(?P<n>\d{1,4})"
    r"(?P<inner>/.+)?"
)
_DIRECTION = re.compile(r"(?:(?P<part>.*[^/])(?:/|_(?=[FB]W)))?(?P<way>fw|bw|FW|BW)")
_LEVEL = re.compile(r"(?P<part>(?:.*/)?[^/]+)/(?:cell_|Layer)(?P<n>\d{1,4})/(?:bidirectional_rnn|BiRNN)")
_SLOT = re.compile(
    r".*/(?:Adam\w*|AdaMax|Momentum|RMSProp|Adagrad\w*|Adadelta|Ftrl|LAMB\w*|gradient\w*accumulator)"
    r"(?:_\d+)?|(?:.*/)?(?:beta[12]_power(?:_\d+)?|global_step|save_counter)"
)


@dataclass
class Cell:
    """One cell: where it stands in its part, and the checkpoint's names of its variables by role."""

    scope: str
    part: str  # the scope of the dynamic_rnn, bidirectional_dynamic_rnn or stack of them
    level: int = 0  # layer of a stack of bidirectional layers
    depth: int = 0  # layer inside one MultiRNNCell
    reverse: bool | None = None  # None: the only direction
    kind: str = ""  # the layout of a gated cell, as `gates` has them; empty: a vanilla one
    gated: str = ""  # the name of a cell with gates that is none of those
    nested: bool = False  # a MultiRNNCell inside another
    alone: str = ""  # the part it is where the scope of its part is shared
    by_graph: bool = False  # names do not tell it: the graph shows it
    apart: bool = False  # of one of two stacks, one in each direction, that meet above their last layers
    variables: dict[str, list[str]] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """Its scope, for messages."""
        return printable(self.scope)

    @property
    def spot(self) -> tuple[int, int, bool]:
        return self.level, self.depth, bool(self.reverse)


def is_keras(cell: Cell) -> bool:
    """Whether names say that `cell` is one of Keras, with two kernels and perhaps no bias."""
    return cell.scope.rpartition("/")[2].startswith("simple_rnn_cell") or cell.kind.startswith("keras")


def ordered(names: Sequence[str]) -> list[str]:
    """Names of shards, W_0, W_1, ..., W_10, in the order of their rows."""
    return sorted(names, key=lambda name: (len(name), name))


def is_slot(name: str, names: Collection[str]) -> bool:
    """Whether `name` is bookkeeping: an optimizer's, the trainer's, or what hangs under another variable's
    name.
    """
    words = name.split("/")
    hangs = any("/".join(words[:k]) in names for k in range(1, len(words)))
    return bool(_SLOT.fullmatch(name)) or f"{SHADOW}/" in name or hangs


def shadowed(name: str, names: Collection[str]) -> str:
    """The variable that the moving average `name` follows: a scope of the trainer's may stand in front."""
    words = name.removesuffix(SHADOW).split("/")
    behind = ("/".join(words[k:]) for k in range(len(words)))
    return next((variable for variable in behind if variable in names), "/".join(words))


def find_cells(names: Collection[str], shadows: bool) -> list[Cell]:
    """The cells that `names` make up; with `shadows`, those that moving averages make up."""
    cells: dict[str, Cell] = {}
    known: set[str] = set()  # scopes of gated cells
    for name in names:
        if name.endswith(SHADOW) != shadows:
            continue
        plain = shadowed(name, names) if shadows else name
        gated, found = "", None
        if match := _VANILLA.fullmatch(plain):
            scope, word, role = match["scope"] or "", match["cell"], _ROLE[match["variable"]]
        elif found := gated_variable(plain):
            scope, word, role = found
            if not role and is_slot(plain, names):
                continue
        else:
            scope, word = _other_gated_cell(plain)
            role, gated = "gated", word
        if word:
            scope = _LOOP.sub("", scope).lstrip("/")
            at = f"{scope}/{word}".lstrip("/")
            known |= {at} if found else set()
            cell = cells.setdefault(at, Cell(at, scope, gated=gated, alone=at))
            cell.variables.setdefault(role, []).append(name)
    for cell in cells.values():
        word = cell.scope.rpartition("/")[2]
        cell.kind = kind_of(word, cell.variables) if cell.scope in known else ""
    found_cells = [placed(cell) for cell in cells.values()]
    _part_shared_scopes(found_cells)
    _part_directions(found_cells)
    return sorted(found_cells, key=lambda cell: (cell.part, cell.spot))


def _other_gated_cell(name: str) -> tuple[str, str]:
    """The scope and the name of a cell with gates that `kinds` lacks, empty where `name` has none."""
    words = name.split("/")
    for k, word in enumerate(words[:-1]):
        if _GATED.search(word) and _CELL.search(word):
            return "/".join(words[:k]), word
    return "", ""


def placed(cell: Cell) -> Cell:
    """Reads the scope from the cell outwards: MultiRNNCell, direction, level of a stack, the user's own."""
    if multi := _MULTI.fullmatch(cell.part):
        cell.nested = bool(multi["inner"] and _MULTI.search(multi["inner"]))
        cell.depth = int(multi["n"])
        cell.part, cell.alone = multi["outer"] or multi["part"], multi["part"]
    if direction := _DIRECTION.fullmatch(cell.part):
        cell.reverse = direction["way"] in ("bw", "BW")
        cell.part = direction["part"] or direction["way"]
        if level := _LEVEL.fullmatch(cell.part):
            cell.level, cell.part = int(level["n"]), level["part"]
    return cell


def _part_shared_scopes(cells: list[Cell]) -> None:
    """Cells that were called one by one under one scope are each a part of their own."""
    by_part: dict[str, list[Cell]] = {}
    for cell in cells:
        by_part.setdefault(cell.part, []).append(cell)
    for part, sharing in by_part.items():
        single = [cell for cell in sharing if cell.reverse is None]
        if part == "" or len(single) < len(sharing) or len({cell.spot for cell in single}) < len(single):
            for cell in single:
                cell.part = cell.alone


def _part_directions(cells: list[Cell]) -> None:
    """A MultiRNNCell in each direction of a bidirectional_dynamic_rnn: two stacks, each a part of its own."""
    stacked = {cell.part for cell in cells if cell.reverse is not None and cell.depth}
    for cell in cells:
        if cell.part in stacked and cell.reverse is not None:
            cell.apart = True
            cell.part = f"{cell.part}/{'bw' if cell.reverse else 'fw'}"


def layer_name(name: str) -> str:
    """The layer of a variable: `dense/kernel` to `dense`, `softmax_w` as it is."""
    scope, _, last = name.removesuffix(SHADOW).rpartition("/")
    return scope if scope and last in _OF_LAYERS else name.removesuffix(SHADOW)
