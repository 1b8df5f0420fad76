"""What a diagnosis says: one porting mistake, where it sits, how sure that is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Proof = Literal["certain", "confirmed", "suspected"]


@dataclass(frozen=True)
class Finding:
    """One mistake. All findings of a pair that are certain or confirmed hold together: undo every one of them."""

    name: str  # such as "the recurrent kernel is transposed"
    advice: str  # how one sees it, and which line to change
    proof: Proof  # certain: weights bit for bit; confirmed: rounding explains what remains; suspected: neither
    before: float | None  # the maximum deviation of the two sides; None where one is not finite
    after: float | None  # what is left of it when all findings are accounted for; None where that was not computed
    where: str  # layer, direction, tensor; "" for everywhere
    side: str  # label of the side that holds the mistake
    tensors: tuple[str, ...] = ()  # what the mistake changed, such as "layer 0 recurrent kernel", "layer 1 activation"
    names: tuple[str, ...] = ()  # what the file of that side calls those tensors; empty for a trace
    code: tuple[str, ...] = ()  # statements, in the framework of that side, that would have been right, of two files
