"""Cases that hold the same network must be judged so, and planted mistakes must not."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
from corpus_cases import Case
from corpus_runs import Outcome, Part, assumed, gates_of, parts_of

import rnnverify
from rnnverify import reference
from rnnverify.adequacy import Examiner
from rnnverify.assumptions import Assumed
from rnnverify.deviation import Tolerance
from rnnverify.errors import RnnverifyError
from rnnverify.judge import judge
from rnnverify.observed import Observed
from rnnverify.options import Engine, Options
from rnnverify.trace import ZERO, Trace

SAME = ("IDENTICAL", "EQUIVALENT")
WANTED = {
    "different": ("DIFFERENT",),
    "equivalent": SAME,
    "equivalent_outputs_different_weights": ("DIFFERENT",),  # the tool compares weights too
    "equivalent_weights_call_layout_differs": SAME,
}
"""The verdicts of the corpus, as this tool's."""
CHUNK = 25  # as many as one comparison takes beside its baseline


@dataclass(frozen=True)
class Judged:
    """What came of a number of pairs."""

    pairs: int = 0
    wrong: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()  # mistakes that were seen, and not named

    def __add__(self, other: Judged) -> Judged:
        return Judged(self.pairs + other.pairs, self.wrong + other.wrong, self.unnamed + other.unnamed)


def judge_groups(outcomes: Sequence[Outcome], pool: ProcessPoolExecutor) -> Judged:
    """Every pair of a group, through `rnnverify.compare` on the reference.

    Of files that were read as the same numbers, from the same framework, one speaks for all: reading is what differs.
    """
    jobs = []
    for members in groups(outcomes).values():
        counts: dict[str, int] = defaultdict(int)
        speakers: dict[str, tuple[str, str]] = {}
        for case, part in members:
            counts[key(part)] += 1
            speakers.setdefault(key(part), (part.given, gates_of(case, part.side)))
        total = len(members) * (len(members) - 1) // 2
        jobs.append(pool.submit(compare_all, list(speakers.values()), total))
    return sum((job.result() for job in jobs), Judged())


def groups(outcomes: Sequence[Outcome]) -> Mapping[tuple[str, ...], list[tuple[Case, Part]]]:
    """Parts of one equivalence group by group, part size and recorded inputs."""
    found: dict[tuple[str, ...], list[tuple[Case, Part]]] = defaultdict(list)
    for case, part in parts_of(outcomes):
        network = part.side.network
        if case.facts["equivalence_group"] and network:
            sizes = f"{network.input_size} -> {network.output_size}"
            inputs = part.record.batches[0].fingerprint()
            found[case.facts["equivalence_group"], sizes, inputs].append((case, part))
    return found


def key(part: Part) -> str:
    """What a comparison on the reference depends on: framework, stated or not, and every stored number."""
    reading = part.side.reading
    assert reading is not None
    digest = hashlib.sha256(f"{reading.recipe.framework} {reading.activation_stated} {reading.assumptions}".encode())
    digest.update(reading.network.fingerprint().encode())
    for name, array in reading.network.tensors():
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def compare_all(speakers: Sequence[tuple[str, str]], pairs: int) -> Judged:
    """Each of `speakers`, source and the activation of gates that it leaves open, against every one after it."""
    wrong = []
    sources = [source for source, _ in speakers]
    for k, baseline in enumerate(sources):
        for start in range(k + 1, len(sources), CHUNK):
            chunk = sources[start : start + CHUNK]
            left_open = [name for _, name in (speakers[k], *speakers[start : start + CHUNK])]
            known = tuple(f"{chr(ord('A') + n)}={name}" for n, name in enumerate(left_open) if name)
            options = Options(engine="reference", assumed=Assumed(gate_activations=known))
            try:
                result = rnnverify.compare(baseline, *chunk, options=options)
            except RnnverifyError as error:
                wrong.append(f"{baseline} against {', '.join(chunk)}: {error}")
                continue
            for other, pair in zip(chunk, result.pairs, strict=True):
                if pair.verdict not in SAME:
                    wrong.append(f"{baseline} against {other}: {pair.verdict}, {'; '.join(pair.reasons)}")
    return Judged(pairs, tuple(wrong))


def judge_records(outcomes: Sequence[Outcome], pool: ProcessPoolExecutor) -> Judged:
    """Every model with one part against what its own version recorded, its io.npz in the place of the second file."""
    whole = [o for o in outcomes if len(o.parts) == 1 and not o.case.submodels and not o.parts[0].record.chaotic]
    jobs = [pool.submit(judge_record, o.case, o.parts[0].given, assumed(o.case, o.parts[0].side)) for o in whole]
    return sum((job.result() for job in jobs), Judged())


def judge_record(case: Case, given: str, known: Assumed) -> Judged:
    record = case.folder / "io.npz"
    with np.load(record) as arrays:
        if "y_steps" in arrays or arrays["y"].ndim != 3:
            return Judged()  # not every step was recorded
        narrow = case.facts["dtype"] if case.facts["dtype"] == "bfloat16" else arrays["y"].dtype.name
    dtype = narrow if narrow in ("float16", "bfloat16") else None
    try:
        result = rnnverify.compare(given, record, options=Options(engine="reference", assumed=known, dtype=dtype))
    except RnnverifyError as error:
        return Judged(1, (f"{given} against its record: {error}",))
    pair = result.pairs[0]
    wrong = f"{given} against its record: {pair.verdict}, {'; '.join(pair.reasons)}"
    return Judged(1, () if pair.verdict in SAME else (wrong,))


def judge_native(outcomes: Sequence[Outcome]) -> Judged:
    """The states that were run natively: every member of a group against its first, on the recorded inputs."""
    wrong, count = [], 0
    for members in groups(outcomes).values():
        native = [part for _, part in members if part.native and not part.fault]
        if len(native) < 2:
            continue
        examiner = Examiner([batch for batch in native[0].record.batches if batch.name == ZERO])
        baseline = observed("A", native[0])
        for part in native[1:]:
            count += 1
            pair = judge(baseline, observed("B", part), examiner, Tolerance())
            if pair.verdict not in SAME:
                reasons = "; ".join(pair.reasons)
                wrong.append(f"natively {native[0].given} against {part.given}: {pair.verdict}, {reasons}")
    return Judged(count, tuple(wrong))


def observed(label: str, part: Part) -> Observed:
    assert part.trace is not None and part.side.network is not None
    trace = Trace({ZERO: part.trace.runs[ZERO]}, part.trace.provenance)
    own = reference.run(part.side.network, [trace.runs[ZERO].batch])
    return Observed(label, part.side.network, trace, own)


def judge_mutants(cases: Sequence[Case], engine: str, pool: ProcessPoolExecutor) -> Judged:
    """The pairs with a known mistake, each by one `rnnverify.compare`."""
    return sum((job.result() for job in [pool.submit(judge_mutant, case, engine) for case in cases]), Judged())


def judge_mutant(case: Case, engine: str) -> Judged:
    facts = case.facts
    sides = [case.folder / facts[name] for name in ("correct", "wrong")]
    try:
        result = rnnverify.compare(*sides, options=Options(engine=cast(Engine, engine)))
    except RnnverifyError as error:
        return Judged(1, (f"{case.id}: {error}",))
    verdict = result.pairs[0].verdict
    if verdict in WANTED[facts["verdict"]]:
        unnamed = verdict == "DIFFERENT" and not result.pairs[0].findings
        return Judged(1, (), (f"{case.id}: {facts['mistake']}",) if unnamed else ())
    found = (
        f"{case.id}: {verdict} ({'; '.join(result.pairs[0].reasons)}), wanted {facts['verdict']}: {facts['mistake']}"
    )
    return Judged(1, (found,))
