"""What the difference of two sets of weights looks like where no mistake accounts for it.

Nothing is undone here, so all but a few changed numbers is a suspicion. Networks that have nothing in common are simply
two networks: no cause is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rnnverify.canonical import Array, Network
from rnnverify.finding import Proof

_FEW = 4  # weights
_RELATED = 0.9  # correlation


@dataclass(frozen=True)
class Tensor:
    """One tensor of both networks, float64; biases are added up."""

    name: str
    ours: Array  # (rows, columns)
    theirs: Array

    @property
    def differing(self) -> Array:
        """(rows, columns) bool; the bias may differ by the rounding of a sum."""
        slack = 2.0**-22 * np.abs(self.ours).max() if self.name.endswith("bias") else 0.0
        return np.asarray(np.abs(self.ours - self.theirs) > slack)

    @property
    def correlation(self) -> float:
        a, b = self.ours - self.ours.mean(), self.theirs - self.theirs.mean()
        size = float(np.linalg.norm(a) * np.linalg.norm(b))
        return float((a * b).sum()) / size if size > 0 else 0.0


Likeness = Iterator[tuple[str, Proof]]
"""Where, and how sure."""


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
                yield f"{tensor.name} {at}" + (", its sign" if a == -b else ""), "certain"


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
            yield f"{tensor.name}, row {rows[0]}", "certain"
        elif len(columns) == 1 and tensor.ours.shape[1] > 2:
            yield f"{tensor.name}, column {columns[0]}", "certain"


def optimizer_slot(tensors: list[Tensor]) -> Likeness:
    """these look like an optimizer's numbers, not like weights

    None is negative, and all are small: TensorFlow keeps the second moment of Adam or RMSProp under the variable's name
    with a suffix. Read `kernel`, not `kernel/Adam_1`: match the whole name.
    """
    kernels = [t for t in tensors if not t.name.endswith("bias")]
    signs = all(t.theirs.size > 8 and (t.theirs >= 0).all() and (t.ours < 0).any() for t in kernels)
    if signs and all(np.median(t.theirs) < 0.2 * np.median(np.abs(t.ours)) for t in kernels):
        yield "", "suspected"


def partially_loaded(tensors: list[Tensor]) -> Likeness:
    """only a part of the weights is loaded

    Some tensors are equal bit for bit, the others unrelated: those were not found by name, and kept their initial
    values. Look at missing_keys of load_state_dict(strict=False), by_name=True, skip_mismatch.
    """
    # keras-team/keras#3488, tensorflow/tensorflow#23013, pytorch/pytorch#36433
    equal = [t for t in tensors if not t.differing.any() and len(np.unique(t.ours)) > _FEW]
    other = [t for t in tensors if t.differing.any()]
    if equal and other and all(abs(t.correlation) < 0.5 or np.ptp(t.theirs) == 0 for t in other if t.ours.size > 8):
        yield ", ".join(t.name for t in other), "suspected"


def never_loaded(tensors: list[Tensor]) -> Likeness:
    """the weights look as if they were never loaded

    Biases are zero and recurrent kernels orthogonal, as Keras initialises them; the other side was trained. Names were
    not found: look at by_name=True, strict=False, and prefixes such as "module.".
    """
    # keras-team/keras#3488 and #20322, salesforce/awd-lstm-lm#99, tensorflow/tensorflow#44387
    recurrent = [t for t in tensors if t.name.endswith("recurrent kernel")]
    fresh = all(_is_orthogonal(t.theirs) and not _is_orthogonal(t.ours) for t in recurrent)
    if fresh and not any(t.theirs.any() for t in tensors if t.name.endswith("bias")):
        yield "", "suspected"


def another_state_of_training(tensors: list[Tensor]) -> Likeness:
    """the weights look like another state of the same training

    Every tensor is close to the other side's, and nearly no number is equal: an earlier checkpoint, or a moving average
    (EMA, AveragedModel, SWA) beside the raw weights. Compare global_step or the epoch, and say which set is wanted.
    """
    # tensorflow/tensorflow#11839, #3684 and #3460, keras-team/keras#15513
    kernels = [t for t in tensors if not t.name.endswith("bias") and t.ours.size > 8]
    if kernels and all(t.differing.mean() > 0.5 and t.correlation > _RELATED for t in kernels):
        yield "", "suspected"


LIKENESSES = (
    few_weights_changed,
    one_line_changed,
    optimizer_slot,
    partially_loaded,
    never_loaded,
    another_state_of_training,
)


def tensors_of(ours: Network, theirs: Network) -> list[Tensor]:
    """Every tensor of two networks of the same shapes, side by side."""
    found = []
    for (where, _, a), (_, _, b) in zip(ours.directions(), theirs.directions(), strict=True):
        for name in ("kernel", "recurrent_kernel", "bias"):
            pair = (np.concatenate(getattr(d, name)[:, None] if name == "bias" else getattr(d, name)) for d in (a, b))
            one, other = (array.astype(np.float64) for array in pair)
            found.append(Tensor(f"{where} {name.replace('_', ' ')}", one, other))
    return found


def _is_orthogonal(U: Array) -> bool:
    H = min(U.shape)
    return H > 1 and U.shape[0] == U.shape[1] and bool(np.abs(U @ U.T - np.eye(H)).max() < 1e-4)
