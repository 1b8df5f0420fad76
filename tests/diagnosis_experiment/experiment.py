"""Does the diagnosis name the mistake that was made? Mistakes are planted in random networks, alone and in pairs.

    python tests/diagnosis_experiment/experiment.py [TRIALS [SEED]] [SETTING ...] [gru | lstm]

files         both sides are model files
port          the wrong side is a recording; only its states are known
stack         the same, and of several layers or directions only the outputs were recorded
original      the right side is a recording, the wrong one a model file

First is the share of trials in which the findings are the mistakes made, and no others. Where two mistakes are one and
the same function for a network, either name counts. Correct ports and simply different networks must get no name, and
no trial one that does not lead from the right network to the wrong one.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import engines
import numpy as np
from gated_plants import GATED_PLANTS
from plants import NETWORK_PLANTS, RUN_PLANTS, Trial

from rnnverify import mistakes, reference
from rnnverify.canonical import GATES, Array, CellKind, Direction, Gating, Layer, Merge, Network
from rnnverify.diagnosis import diagnose
from rnnverify.diagnosis.by_behaviour import Behaviour
from rnnverify.diagnosis.families import FAMILIES
from rnnverify.diagnosis.hypothesis import Seen
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.observed import Observed
from rnnverify.probes import make_probes
from rnnverify.trace import Batch, Run, Trace

LOST = {
    "the recurrent kernel is not loaded",
    "the weights of one direction are used in both",
    "the weights of one layer are used in another too",
    "the weights are rounded to fewer digits",
}
"""What the right weights were is in no file, where the right side is a recording."""

SETTINGS = ("files", "port", "stack", "original")
GOALS: dict[CellKind, dict[int, float]] = {"rnn": {1: 0.95, 2: 0.80}, "gru": {1: 0.90}, "lstm": {1: 0.90}}
"""The least share that is right, by the number of mistakes at once; pairs in cells with gates are counted alone."""

HYPOTHESES = [hypothesis for family in FAMILIES.values() for hypothesis in family]


def random_network(rng: np.random.Generator, cell: CellKind = "rnn") -> Network:
    """One to three layers, one direction or two, trained-looking sizes; sometimes as many inputs as units."""
    depth = int(rng.choice([1, 1, 2, 3]))
    both, two = bool(rng.uniform() < 0.4), bool(rng.uniform() < 0.6)
    merge: Merge = rng.choice(["concat", "concat", "sum", "ave", "mul"]) if both else "concat"
    H = int(rng.integers(3, 25))
    I = H if rng.uniform() < 0.4 else int(rng.integers(2, 13))
    reverse = not both and rng.uniform() < 0.15
    activation = str(rng.choice(["tanh", "tanh", "tanh", "relu", "sigmoid"])) if cell == "rnn" else "tanh"
    special = str(rng.choice(["", "", "", "peepholes", "coupled", "clipped"])) if cell == "lstm" else ""
    gating = Gating(
        activation="sigmoid" if cell == "rnn" else str(rng.choice(["sigmoid", "sigmoid", "keras2_hard_sigmoid"])),
        reset_after=cell != "gru" or rng.uniform() < 0.7,
        cell_clip=0.4 if special == "clipped" else 0.0,
    )
    layers: list[Layer] = []
    for _ in range(depth):
        width = layers[-1].output_size if layers else I
        given = (rng, width, H, two)
        directions = tuple(
            direction(*given, reverse=bool(j) or reverse, cell=cell, special=special) for j in range(1 + both)
        )
        restored = not reverse or rng.uniform() < 0.5
        layers.append(Layer(directions, activation, cell, merge, restored, gating=gating))
    return Network(tuple(layers))


def direction(
    rng: np.random.Generator, I: int, H: int, two: bool, reverse: bool, cell: CellKind = "rnn", special: str = ""
) -> Direction:
    G = len(GATES[cell])
    kernel = rng.normal(0, I**-0.5, (G, I, H)).astype(np.float32)
    recurrent = rng.normal(0, 0.8 * H**-0.5, (G, H, H)).astype(np.float32)
    biases = rng.uniform(-0.5, 0.5, (2, G, H)).astype(np.float32)
    peephole = rng.normal(0, 0.5, (3, H)).astype(np.float32) if special == "peepholes" else None
    if special == "coupled":
        for each in (kernel, recurrent, *biases):
            each[1] = -each[0]
    one, other = biases[0], biases[1] if two else 0 * biases[1]
    return Direction(kernel, recurrent, one, other, reverse, peephole=peephole)


def execute(network: Network, batch: Batch, rng: np.random.Generator) -> Run:
    order = engines.ORDERS[int(rng.integers(3))]
    return engines.run(network, [batch], order).runs[batch.name]


def batches_of(network: Network, rng: np.random.Generator) -> tuple[Batch, ...]:
    batches = make_batches(InputOptions(seed=int(rng.integers(1000))), network)
    probes = make_probes(network)
    return (*batches, probes) if probes and rng.uniform() < 0.5 else batches


def plant(network: Network, count: int, rng: np.random.Generator) -> Trial | None:
    """`count` different mistakes one after the other; None where one of them changes nothing."""
    gated = network.layers[0].cell != "rnn"
    plants = {**NETWORK_PLANTS, **GATED_PLANTS} if gated else NETWORK_PLANTS
    chosen = list(GATED_PLANTS) if gated and rng.uniform() < 0.5 else list(plants)
    names = [str(name) for name in rng.choice(chosen, count, replace=False)]
    wrong = network
    for name in names:
        made = plants[name](wrong, rng)
        if made is None or mistakes.same(made, wrong):
            return None
        wrong = made
    return None if mistakes.same(wrong, network) else Trial(network, wrong, tuple(name.strip() for name in names))


def sides(trial: Trial, setting: str, rng: np.random.Generator) -> tuple[Observed, Observed]:
    batches = batches_of(trial.right, rng)
    right, wrong = (side(label, network, batches, rng) for label, network in (("A", trial.right), ("B", trial.wrong)))
    if setting == "port":
        return right, recording(wrong)
    if setting == "stack":
        return right, recording(wrong, states=False)
    if setting == "original":
        return recording(right), wrong
    return right, wrong


def side(label: str, network: Network, batches: tuple[Batch, ...], rng: np.random.Generator) -> Observed:
    trace = Trace({batch.name: execute(network, batch, rng) for batch in batches})
    return Observed(label, network, trace, reference.run(network, batches))


def recording(made: Observed, states: bool = True) -> Observed:
    runs = {name: run if states else replace(run, states=()) for name, run in made.trace.runs.items()}
    return Observed(made.label, None, Trace(runs), None)


def is_right(trial: Trial, names: tuple[str, ...], wrong: Observed) -> bool:
    """Whether `names` are those of the mistakes made, or of as few that are the same function."""
    if sorted(names) == sorted(set(trial.names)):
        return True
    return 0 < len(names) <= len(trial.names) and leads_to(trial.right, trial.wrong, names, wrong)


def is_false(trial: Trial, names: tuple[str, ...], wrong: Observed) -> bool:
    """Whether `names` hold a mistake that was not made, and that does not lead to the wrong network with the others."""
    return bool(set(names) - set(trial.names)) and not leads_to(trial.right, trial.wrong, names, wrong)


def leads_to(network: Network, wanted: Network, names: tuple[str, ...], wrong: Observed) -> bool:
    """Whether mistakes of these names, in some order, make `wanted` of `network`, by weights or by all that was run."""
    if not names:
        runs = list(wrong.trace.runs.values())
        return mistakes.same(network, wanted) or Behaviour.of(runs, "float32").proves(network)
    seen = Seen(wanted, tuple(wrong.trace.runs.values()), "float32")
    for k, name in enumerate(names):
        rest = (*names[:k], *names[k + 1 :])
        for hypothesis in HYPOTHESES:
            if hypothesis.name == name and any(
                leads_to(made, wanted, rest, wrong) for _, made in hypothesis.make(network, seen)
            ):
                return True
    return False


def planted_trials(
    count: int, trials: int, setting: str, seed: int, cell: CellKind = "rnn"
) -> Iterator[tuple[Trial, bool, bool, tuple[str, ...], float]]:
    """Each trial, whether the names are right, whether one is false, the names, and the seconds that it took."""
    rng = np.random.default_rng([seed, count, SETTINGS.index(setting)])
    done = 0
    while done < trials:
        network = random_network(rng, cell)
        trial = plant(network, count, rng)
        if trial is None or (setting == "stack" and len(network.layers) * len(network.layers[0].directions) == 1):
            continue
        right, wrong = sides(trial, setting, rng)
        if visible(trial, wrong) and not (setting == "original" and LOST & set(trial.names)):
            started = time.process_time()
            findings = diagnose(right, wrong)
            seconds = time.process_time() - started
            names = tuple(finding.name for finding in findings if finding.proof != "suspected")
            if setting == "original":
                names = with_lost_bias(trial, names)
            full = side("B", trial.wrong, tuple(run.batch for run in wrong.trace.runs.values()), rng)
            full = recording(full, states=False) if setting == "stack" else full
            right_names = is_right(trial, names, full)
            yield trial, right_names, not right_names and is_false(trial, names, full), names, seconds
            done += 1


def with_lost_bias(trial: Trial, names: tuple[str, ...]) -> tuple[str, ...]:
    """`names`, where a bias that is in no file was named as what it is now, with what was done to it."""
    if "only the bias is another one" not in names:
        return names
    rest = [name for name in names if name != "only the bias is another one"]
    return (*rest, *(name for name in trial.names if "bias" in name and name not in rest))


def visible(trial: Trial, wrong: Observed) -> bool:
    """Whether the right network leaves something of what the wrong one did unexplained, as DIFFERENT says."""
    return not Behaviour.of(list(wrong.trace.runs.values()), "float32").proves(trial.right)


def run_trials(trials: int, seed: int, cell: CellKind = "rnn") -> Iterator[tuple[str, bool, tuple[str, ...]]]:
    """Mistakes in how a network is run: the wrong side is a recording."""
    rng = np.random.default_rng([seed, 99])
    for name, make in RUN_PLANTS.items():
        done = tries = 0
        while done < trials and tries < 50 * trials:
            tries += 1
            network = random_network(rng, cell)
            batches = batches_of(network, rng)
            runs = {}
            for batch in batches:
                once = int(rng.integers(2**31))
                made = None
                if batch.h0 is None:
                    made = make(lambda n, b, s=once: execute(n, b, np.random.default_rng(s)), network, batch)  # type: ignore[misc]
                    if made is None:
                        break
                    runs[batch.name] = made
            if not runs or (name.startswith("the activation") and network.layers[-1].activation != "tanh"):
                continue
            right = side("A", network, batches, rng)
            wrong = Observed("B", None, Trace(runs), None)
            findings = diagnose(right, wrong)
            names = tuple(finding.name for finding in findings if finding.proof != "suspected")
            yield name, names == (name,), names
            done += 1


def controls(trials: int, seed: int, cell: CellKind = "rnn") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Correct ports, and networks that are simply different."""
    rng = np.random.default_rng([seed, 77])
    for _ in range(trials):
        network = random_network(rng, cell)
        batches = batches_of(network, rng)
        first = side("A", network, batches, rng)
        ported = side("B", summed(network), batches, rng)
        other = side("B", redrawn(network, rng), batches, rng)
        for kind, b in (("correct port", ported), ("different networks", other)):
            for setting, pair in (
                ("files", (first, b)),
                ("port", (first, recording(b))),
                ("stack", (first, recording(b, states=False))),
                ("original", (recording(first), b)),
                ("recordings", (recording(first), recording(b))),
            ):
                yield f"{kind}, {setting}", tuple(f.name for f in diagnose(*pair))


def summed(network: Network) -> Network:
    def change(d: Direction) -> Direction:
        if len(d.kernel) == 3:
            return d  # a GRU may need both
        return replace(d, bias_input=d.bias.astype(np.float32), bias_recurrent=0 * d.bias_recurrent)

    return mistakes.each(network, change)


def redrawn(network: Network, rng: np.random.Generator) -> Network:
    zero_bias = rng.uniform() < 0.3
    scale = np.float32(rng.choice([0.3, 1.0, 2.0]))

    def change(d: Direction) -> Direction:
        cell: CellKind = network.layers[0].cell
        new = direction(rng, d.input_size, d.hidden_size, bool(np.any(d.bias_recurrent)), d.reverse, cell)
        bias: Array = new.bias_input * np.float32(not zero_bias)
        return replace(
            new,
            recurrent_kernel=new.recurrent_kernel * scale,
            bias_input=bias,
            bias_recurrent=new.bias_recurrent * np.float32(not zero_bias),
            peephole=None if d.peephole is None else rng.normal(0, 0.5, d.peephole.shape).astype(np.float32),
        )

    return mistakes.each(network, change)


def main(argv: list[str]) -> int:
    trials, seed = (int(argv[0]) if argv else 100), (int(argv[1]) if argv[1:] else 0)
    verbose = "-v" in argv
    chosen = [setting for setting in SETTINGS if setting in argv] or SETTINGS
    cell: CellKind = "gru" if "gru" in argv else "lstm" if "lstm" in argv else "rnn"
    missed = false = 0
    for count in (1, 2):
        for setting in chosen:
            good, misled, slowest = [], 0, 0.0
            by_name: dict[str, list[bool]] = defaultdict(list)
            for trial, right, wrong, names, seconds in planted_trials(count, trials, setting, seed, cell):
                good.append(right)
                misled += wrong
                slowest = max(slowest, seconds)
                for name in trial.names:
                    by_name[name].append(right)
                if verbose and not right:
                    print(f"    {trial.names} -> {names}")
            rate = float(np.mean(good))
            missed += rate < GOALS[cell].get(count, 0.0)
            false += misled
            words = f"{rate:7.1%} of {len(good)} right, {misled} with a false cause"
            print(f"{count} planted, {setting:10} {words}   slowest {slowest:.2f} s of CPU", flush=True)
            for name, each in sorted(by_name.items()):
                if not all(each):
                    print(f"      {np.mean(each):6.0%} of {len(each):3}  {name}")
    run_results: dict[str, list[bool]] = defaultdict(list)
    for name, right, names in run_trials(max(5, trials // 10), seed, cell):
        run_results[name].append(right)
        if verbose and not right:
            print(f"    {name} -> {names}")
    rate = float(np.mean([each for one in run_results.values() for each in one]))
    missed += rate < GOALS[cell][1]
    print(f"1 planted, how run    {rate:7.1%} of {sum(len(one) for one in run_results.values())} right")
    for name, each in run_results.items():
        print(f"      {np.mean(each):6.0%} of {len(each):3}  {name}")
    wrongly = [(kind, names) for kind, names in controls(trials, seed, cell) if names]
    print(f"{len(wrongly)} of {10 * trials} correct ports and different networks were given a cause")
    for kind, names in wrongly[:10]:
        print(f"      {kind}: {'; '.join(names)}")
    return 1 if missed or false or wrongly else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
