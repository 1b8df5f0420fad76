"""What the difference of two sets of weights looks like where no mistake accounts for it.

Nothing is undone here, so all but a few changed numbers is a suspicion. Networks that have nothing in common are simply
two networks: no cause is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnverify.canonical import GATE_NAMES, Array, Network
from rnnverify.diagnosis.biases import bias_is_another
from rnnverify.diagnosis.fresh import initialised_by
from rnnverify.diagnosis.hypothesis import words
from rnnverify.finding import Finding, Proof

_FEW = 4  # weights
_RELATED = 0.9  # correlation
_TINY = 0.02  # of the size of the other side's: no initialiser is so small beside trained weights, biases included


@dataclass(frozen=True)
class Tensor:
    """One tensor of both networks, float64; biases are added up."""

    where: str  # such as "layer 0 reverse"
    gate: str  # empty where there is one, or a tensor is of all
    kind: str  # such as "recurrent kernel"
    ours: Array  # (rows, columns)
    theirs: Array

    @property
    def name(self) -> str:
        """Such as `layer 0 reverse forget gate kernel`."""
        return " ".join(filter(None, (self.where, self.gate, self.kind)))

    @property
    def differing(self) -> Array:
        """(rows, columns) bool; the bias may differ by the rounding of a sum."""
        slack = 2.0**-22 * np.abs(self.ours).max() if self.name.endswith("bias") else 0.0
        return np.asarray(np.abs(self.ours - self.theirs) > slack)

    @property
    def size(self) -> float:
        """How large theirs is beside ours."""
        ours = float(np.linalg.norm(self.ours))
        return float(np.linalg.norm(self.theirs)) / ours if ours > 0 else np.inf

    @property
    def correlation(self) -> float:
        a, b = self.ours - self.ours.mean(), self.theirs - self.theirs.mean()
        size = float(np.linalg.norm(a) * np.linalg.norm(b))
        return float((a * b).sum()) / size if size > 0 else 0.0

    @property
    def is_unrelated(self) -> bool:
        """Whether no more than chance relates them, which is more where they are small."""
        chance = 4 / float(self.ours.size) ** 0.5
        return bool(abs(self.correlation) < min(max(0.5, chance), _RELATED))


Likeness = Iterator[tuple[str, Proof, tuple[str, ...]]]
"""Where, how sure, and which tensors."""

Alike = Callable[[list[Tensor]], Likeness]


def few_weights_changed(tensors: list[Tensor]) -> Likeness:
    """a few weights differ, and all others are equal

    No mistake of layout does that: the file was edited, damaged, or written by hand. The table of weights shows the
    place and both values; copy the tensor again.
    """
    differing = [(t, np.argwhere(t.differing)) for t in tensors if t.differing.any()]
    if sum(len(places) for _, places in differing) <= _FEW and sum(t.ours.size for t in tensors) > 4 * _FEW:
        for tensor, places in differing:
            for row, column in places:
                at = f"[{column}]" if tensor.name.endswith("bias") else f"[{row}, {column}]"
                a, b = tensor.ours[row, column], tensor.theirs[row, column]
                yield f"{tensor.name} {at}" + (", its sign" if a == -b else ""), "certain", (tensor.name,)


def one_line_changed(tensors: list[Tensor]) -> Likeness:
    """one row or column of a tensor differs, and all others are equal

    One input feature or one unit was copied wrongly, everything else was not. Look at loops over rows, at slices that
    end one too early, and at the padding of a vocabulary or a feature list.
    """
    differing = [t for t in tensors if t.differing.any() and not t.name.endswith("bias")]
    if len(differing) == 1 and not any(t.differing.any() for t in tensors if t.name.endswith("bias")):
        (tensor,) = differing
        rows, columns = (np.unique(places) for places in np.nonzero(tensor.differing))
        if len(rows) == 1 and len(tensor.ours) > 2:
            yield f"{tensor.name}, row {rows[0]}", "certain", (tensor.name,)
        elif len(columns) == 1 and tensor.ours.shape[1] > 2:
            yield f"{tensor.name}, column {columns[0]}", "certain", (tensor.name,)


def optimizer_slot(tensors: list[Tensor]) -> Likeness:
    """these look like an optimizer's numbers, not like weights

    All are close to zero, or small and none negative: TensorFlow keeps the moments of Adam or RMSProp under the
    variable's name with a suffix. Read `kernel`, not `kernel/Adam` or `kernel/Adam_1`: match the whole name.
    """
    kernels = [t for t in tensors if not t.name.endswith("bias")]
    signs = all(t.theirs.size > 8 and (t.theirs >= 0).all() and (t.ours < 0).any() for t in kernels)
    tiny = all(t.theirs.any() and t.size < _TINY for t in tensors if t.ours.any())
    moments = tiny and not any(abs(t.correlation) > _RELATED for t in kernels)
    if moments or (signs and all(t.size < 0.2 for t in kernels)):
        yield "", "suspected", tuple(t.name for t in tensors)


def only_biases_differ(tensors: list[Tensor]) -> Likeness:
    """only the bias is another one"""
    biases = [t for t in tensors if t.name.endswith("bias") and t.differing.any()]
    kernels = [t for t in tensors if not t.name.endswith("bias")]
    if biases and not any(t.differing.any() for t in kernels):
        yield ", ".join(t.name for t in biases), "certain", tuple(t.name for t in biases)


only_biases_differ.__doc__ = bias_is_another.__doc__


def partially_loaded(tensors: list[Tensor]) -> Likeness:
    """only a part of the weights is loaded

    Some tensors are equal bit for bit, the others unrelated: those were not found by name, and kept their initial
    values. Print what the loader did not find, and load it.

    Keras: by_name=True and skip_mismatch=True skip in silence.
    PyTorch: missing_keys that load_state_dict(strict=False) returns.
    TensorFlow: variables that the var_list of the Saver leaves out.
    """
    # keras-team/keras#3488, tensorflow/tensorflow#23013, pytorch/pytorch#36433
    equal = [t for t in tensors if not t.differing.any() and len(np.unique(t.ours)) > _FEW]
    other = [t for t in tensors if t.differing.any()]
    if equal and other and all(t.is_unrelated or np.ptp(t.theirs) == 0 for t in other if t.ours.size > 8):
        yield ", ".join(t.name for t in other), "suspected", tuple(t.name for t in other)


def never_loaded(tensors: list[Tensor]) -> Likeness:
    """the weights look as if they were never loaded

    They are as a framework initialises them (biases of zeros and orthogonal kernels, or uniform within its bounds); the
    other side was trained. Names were not found. Print what the loader did not find.

    Keras: by_name=True skips in silence.
    PyTorch: strict=False skips in silence, a prefix such as "module." is enough.
    TensorFlow: restore reports nothing: assert_consumed() does.
    """
    # keras-team/keras#3488 and #20322, salesforce/awd-lstm-lm#99, tensorflow/tensorflow#44387
    ours, theirs = (
        {(t.where, t.gate, t.kind): getattr(t, side) for t in tensors if t.kind != "recurrent bias"}
        for side in ("ours", "theirs")
    )
    framework = initialised_by(theirs)
    if framework and not initialised_by(ours):
        yield f"as {framework} initialises them", "suspected", tuple(t.name for t in tensors)


def another_state_of_training(tensors: list[Tensor]) -> Likeness:
    """the weights look like another state of the same training

    Every tensor is close to the other side's, and nearly no number is equal: an earlier checkpoint, or a moving average
    (EMA, AveragedModel, SWA) beside the raw weights. Compare global_step or the epoch, and say which set is wanted.
    """
    # tensorflow/tensorflow#11839, #3684 and #3460, keras-team/keras#15513
    kernels = [t for t in tensors if not t.name.endswith("bias") and t.ours.size > 8]
    if kernels and all(t.differing.mean() > 0.5 and t.correlation > _RELATED for t in kernels):
        change = max(float(np.linalg.norm(t.theirs - t.ours) / np.linalg.norm(t.ours)) for t in kernels)
        correlation = min(t.correlation for t in kernels)
        yield f"correlation {correlation:.4f} at least, changed by {change:.2g} of their size at most", "suspected", ()


def unrelated(ours: Network, theirs: Network) -> str:
    """What is said where no mistake and no likeness was found, and the kernels have nothing in common; else empty."""
    kernels = [t for t in tensors_of(ours, theirs) if not t.name.endswith("bias") and t.ours.size > 32]
    if not kernels or any(abs(t.correlation) > 4 / np.sqrt(t.ours.size) for t in kernels):
        return ""
    return "the kernels have nothing in common but their shapes: another training run, or another network"


ONE_SIDED = (optimizer_slot, never_loaded)
"""Those that say which of the two sides is the wrong one."""

LIKENESSES = (
    few_weights_changed,
    one_line_changed,
    optimizer_slot,
    only_biases_differ,
    partially_loaded,
    never_loaded,
    another_state_of_training,
)


def tensors_of(ours: Network, theirs: Network) -> list[Tensor]:
    """Every tensor of two networks of the same shapes, gate by gate, side by side; biases as rows of one."""
    found: list[Tensor] = []
    pairs = zip(ours.directions(), theirs.directions(), strict=True)
    for (where, layer, a), (_, other, b) in pairs:
        gates = GATE_NAMES[layer.cell]
        for name in ("kernel", "recurrent_kernel"):
            for gate, one, two in zip(gates, getattr(a, name), getattr(b, name), strict=True):
                found.append(_tensor(where, gate, name.replace("_", " "), one, two))
        for gate, one, two in zip(gates, a.bias, b.bias, strict=True):
            found.append(_tensor(where, gate, "bias", one[None], two[None]))
        if all(each.cell == "gru" and each.gating.reset_after for each in (layer, other)):
            found.append(_tensor(where, gates[-1], "recurrent bias", a.bias_recurrent[-1:], b.bias_recurrent[-1:]))
        for name in ("peephole", "projection"):
            one, two = getattr(a, name), getattr(b, name)
            if one is not None and two is not None:
                found.append(_tensor(where, "", name, one, two))
    return found


def _tensor(where: str, gate: str, kind: str, ours: Array, theirs: Array) -> Tensor:
    return Tensor(where, gate, kind, ours.astype(np.float64), theirs.astype(np.float64))


def alike(
    right: Network, wrong: Network, side: str, likenesses: Sequence[Alike], before: float | None
) -> list[Finding]:
    """What the difference of two networks looks like first; `side` is the label of the wrong one."""
    tensors = tensors_of(right, wrong)
    for likeness in likenesses:
        name, advice = words(likeness)
        found = [
            Finding(name, advice, proof, before, None, where, side, changed)
            for where, proof, changed in likeness(tensors)
        ]
        if found:
            return found
    return []
