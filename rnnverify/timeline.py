"""The time axis in words: where and when a side departs, and whether it drifts or was off in a single step."""

from __future__ import annotations

from rnnverify.canonical import Network
from rnnverify.comparison import Measured
from rnnverify.horizon import expected_parting
from rnnverify.rounding import Budget
from rnnverify.trace import ZERO, Batch

_FIRST_FED_BACK = {"rnn": "", "gru": " and at the reset gate", "lstm": " and at the forget gate"}
"""What else acts from the second step on, where the first starts from zeros."""


def departure(budget: Budget, network: Network | None) -> str:
    """Where the steps of a side begin to lie beyond the budget, and at what that points."""
    if budget.onset is None:
        return "it shows only in runs from initial states: look at how a state is handed in, or at single weights"
    where, step = budget.onset
    if step == 0:
        return (
            f"it begins in {where} at step 0, before any state is fed back: look at kernel, bias, activation and inputs"
        )
    if step == 1:
        return f"it begins in {where} at step 1, step 0 holds: {_feedback(network)}"
    return f"it begins in {where} at step {step}, the {step} steps before hold"


def beginning(measured: tuple[Measured, ...], network: Network | None) -> str:
    """The same for sides whose states were not all recorded, from the deviation of outputs alone."""
    step = _first_step(measured, ZERO)
    if step is None:
        return ""
    if step == 0:
        return "it is there at step 0, before any state is fed back: look at kernel, bias, activation and inputs"
    if step == 1:
        return f"step 0 agrees, step 1 does not: {_feedback(network)}"
    return f"it drifts in: the first {step} steps agree"


def parting(
    measured: tuple[Measured, ...], limit: float, network: Network | None, batches: tuple[Batch, ...], dtype: str
) -> str:
    """Why sides that hold step by step end further apart than `limit`, and from when on rounding alone would do it."""
    parted = [m for m in measured if m.output == "y" and m.deviation.first_step is not None]
    if not parted:
        return "the final states lie apart: this network amplifies rounding, no port can follow it"
    first = min(parted, key=lambda m: m.deviation.first_step or 0)
    step = first.deviation.first_step or 0
    words = f"the sides part from step {step} on: this network amplifies rounding, no port can follow it"
    batch = next(batch for batch in batches if batch.name == first.batch)
    if network is None:
        return words
    steps = min(batch.x.shape[1], 4 * step + 100)
    expected = expected_parting(network, batch, first.deviation.at[0], steps, dtype, limit)
    if expected is None:
        return f"{words} (but stochastic arithmetic does not expect it within {steps} steps)"
    return f"{words} (stochastic arithmetic expects it from about step {expected} on)"


def _feedback(network: Network | None) -> str:
    cells = dict.fromkeys(layer.cell for layer in network.layers) if network else {}
    return "look at the recurrent kernel" + "".join(_FIRST_FED_BACK[cell] for cell in cells)


def _first_step(measured: tuple[Measured, ...], batch: str) -> int | None:
    return next((m.deviation.first_step for m in measured if (m.batch, m.output) == (batch, "y")), None)
