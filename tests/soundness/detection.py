"""The smallest change of one weight that is caught, by the budget and by the rules that other tools judge by."""

from __future__ import annotations

from collections.abc import Callable

import engines
import numpy as np
from cases import of
from rules import RULES, rejects

from rnnverify.canonical import Array, Network
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.probes import make_probes
from rnnverify.rounding import check
from rnnverify.trace import Batch, Run

CHANGES = [10.0 ** (-k / 4) for k in range(25)]  # 1 to 1e-6
BUDGET, PROBES = "budget", "with probes"


def detection_table(sizes: tuple[int, ...], tries: int) -> str:
    """Medians over `tries` networks, each with one of its recurrent weights changed."""
    lines = [
        "Smallest relative change of one recurrent weight that is caught (8 sequences of 32 steps, tanh, radius 0.9)",
        "",
        "  ".join(f"{name:>12}" for name in ["hidden", BUDGET, PROBES, *RULES, "float16 seen"]),
    ]
    for H in sizes:
        found: dict[str, list[float]] = {name: [] for name in (BUDGET, PROBES, *RULES)}
        halves = 0
        for seed in range(tries):
            caught, half = _try(H, seed)
            halves += half
            for name, change in caught.items():
                found[name].append(change)
        cells = [str(H), *(_words(float(np.median(found[name]))) for name in found), f"{halves} of {tries}"]
        lines.append("  ".join(f"{cell:>12}" for cell in cells))
    return "\n".join([*lines, "", "always: also without any change; never: not even a weight twice as large"])


def _words(change: float) -> str:
    return "always" if change == 0 else "never" if change == np.inf else f"{change:.1e}"


def _try(H: int, seed: int) -> tuple[dict[str, float], bool]:
    """Rule to the smallest change caught, and whether the budget sees weights rounded to float16."""
    rng = np.random.default_rng([H, seed])
    W, U = rng.normal(0, 5**-0.5, (5, H)), rng.normal(0, 0.9 * H**-0.5, (H, H))
    b = rng.uniform(-0.1, 0.1, H)
    network = of("tanh", W, U, b, np.zeros(H))
    batches = make_batches(InputOptions(), network)
    baseline = _states(network, batches, "split")
    i, j = (int(k) for k in rng.integers(0, H, 2))

    def changed(by: float) -> list[str]:
        other = U.astype(np.float32)
        other[i, j] *= np.float32(1 + by)
        return _caught(network, baseline, of("tanh", W, other, b, np.zeros(H)), batches)

    seen: dict[str, float] = {}
    for name in (BUDGET, PROBES, *RULES):
        seen[name] = smallest(lambda by, name=name: name in changed(by))  # type: ignore[misc]
    kernel, recurrent, bias = (array.astype(np.float16) for array in (W, U, b))
    narrow = of("tanh", kernel, recurrent, bias, np.zeros(H))
    return seen, BUDGET in _caught(network, baseline, narrow, batches)


def smallest(caught: Callable[[float], bool]) -> float:
    """0 where even no change is `caught`, infinity where none is; else by bisection over CHANGES."""
    if caught(0.0):
        return 0.0
    low, high = 0, len(CHANGES)  # CHANGES[:low] are caught
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if caught(CHANGES[middle]) else (low, middle)
    return CHANGES[low - 1] if low else np.inf


def _states(network: Network, batches: tuple[Batch, ...], order: engines.Order) -> list[Run]:
    return list(engines.run(network, batches, order).runs.values())


def _caught(network: Network, baseline: list[Run], other: Network, batches: tuple[Batch, ...]) -> list[str]:
    """What rejects a correct run of `other`: budgets of the sequences and of the probes, and rules on the sequences."""
    runs = _states(other, batches, "fused")
    probes = make_probes(network)
    assert probes is not None
    budget, probed = (check(network, some, "float32", other) for some in (runs, _states(other, (probes,), "fused")))
    assert budget is not None and probed is not None
    pairs: list[tuple[Array, Array]] = [(run.y, same.y) for run, same in zip(runs, baseline, strict=True)]
    seen = [BUDGET] * (not budget.holds) + [PROBES] * (not (budget.holds and probed.holds))
    return seen + [rule for pair in pairs for rule in rejects(*pair)]
