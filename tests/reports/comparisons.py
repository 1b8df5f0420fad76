"""Results made by hand, for tests of the reports."""

from dataclasses import replace

import numpy as np

from rnnverify.adequacy import Adequacy
from rnnverify.comparison import Comparison, Measured, Pair, Side, TensorDifference
from rnnverify.deviation import Deviation, Tolerance
from rnnverify.heatmap import HeatMap
from rnnverify.inspection import Inspection, TensorLine
from rnnverify.rounding import Budget
from rnnverify.weight_map import weight_map

NAN = float("nan")
BATCHES = {
    "zero": {"shape": [8, 32, 5], "initial_state": False, "sha256": "0" * 64},
    "from_h0": {"shape": [8, 32, 5], "initial_state": True, "sha256": "1" * 64},
}
INPUTS = {"origin": "seed 0", "seed": 0, "batches": BATCHES}

KERAS = Side(
    label="A",
    source="model.h5",
    framework="keras",
    form="HDF5",
    writer="Keras 2.2.4, tensorflow backend",
    shape="1 layer, 5 -> 8, tanh",
    engine="native",
    how="SimpleRNN, loaded by load_model",
    assumptions=(),
    not_compared=("Dense 'dense_1'",),
    notes=(),
    weights_fingerprint="a" * 64,
    versions={"keras": "3.15.1", "tensorflow": "2.21.0"},
    environment={"machine": "x86_64", "threads": "1"},
)
TORCH = Side(
    label="B",
    source="model.pt#encoder.rnn",
    framework="torch",
    form="PyTorch zip",
    writer="",
    shape="1 layer, 5 -> 8, tanh",
    engine="native",
    how="nn.RNN, loaded by torch.load",
    assumptions=("activation tanh: not in the file, borrowed from A (--activation B=NAME sets another)",),
    not_compared=(),
    notes=("holds two biases",),
    weights_fingerprint="a" * 64,
    versions={"torch": "2.13.0"},
    environment={"machine": "x86_64", "threads": "1"},
)
TRACE = replace(
    TORCH,
    label="C",
    source="trace.npz",
    framework="trace",
    form="npz trace",
    writer="recorded from in-house 7",
    shape="",
    engine="trace",
    how="recorded",
    assumptions=(),
    notes=(),
    weights_fingerprint="",
    versions={},
)

SMALL = Deviation(
    max_abs=1.2e-7,
    at=(3, 21, 5),
    baseline_value=0.123456789,
    candidate_value=0.123456909,
    mean_abs=1.1e-8,
    compared=2048,
    beyond=0,
    first_step=None,
    by_step=(0.0, 3e-8, 6e-8, 1.2e-7),
    nonfinite=(0, 0),
    bitwise=False,
)
PARTED = replace(SMALL, max_abs=1.9, beyond=1200, first_step=12)
LARGE = replace(SMALL, max_abs=0.75, candidate_value=-0.626543211, mean_abs=0.04, beyond=1900, first_step=1)


HOLDS = Budget(
    used=0.123,
    where="layer 0",
    at=(3, 21, 5),
    beyond=0,
    checked=4096,
    first_step=None,
    error=2e-7,
    shares=(*[0] * 8, 96, 1000, 2000, 800, 150, 50, *[0] * 10),
)
FAILS = replace(HOLDS, used=41234.0, at=(0, 1, 0), beyond=3800, first_step=1, shares=(*[0] * 10, 296, *[0] * 12, 3800))
HEAT = HeatMap("zero", units=3, steps=4, rows=((0.0, 3e-8, 6e-8, 1.2e-7), (0.0, 0.0, 0.0, 3e-8), (1e-8,) * 4))


def tensor(name: str, *shape: int, differing: int = 0, rounded: int = 0) -> TensorDifference:
    """A weight tensor of one gate; `shape` leaves the gate out."""
    size = 0.25 if differing else 6e-8 if rounded else 0.0
    at = tuple(n - 1 for n in shape)
    halves = np.full((1, *shape), 0.5)
    drawn = weight_map(halves, halves + size) if differing else None
    return TensorDifference(name, (1, *shape), differing, size, at, 0.5, 0.5 + size, size / 2**-24, rounded, drawn)


EQUIVALENT_PAIR = Pair(
    baseline="A",
    candidate="B",
    verdict="EQUIVALENT",
    reasons=("every step is explained by rounding, and the weights are equal",),
    tolerance=Tolerance(),
    by_rounding="EQUIVALENT",
    rounding_reasons=("every step is explained by rounding, and the weights are equal",),
    weight_reasons=(),
    own_reasons=(),
    blind="",
    frontier=(),
    rule=Tolerance(1e-5),
    rule_words="float32 rule: 1e-05 x the largest state, 1",
    remarks=("all biases are zero: a bias that was dropped or added twice would change nothing",),
    budgets=(HOLDS, replace(HOLDS, used=0.34)),
    own_budgets=(HOLDS, replace(HOLDS, used=0.34)),
    adequacy=Adequacy(planted=18, survivors=("a bias dropped",)),
    headline=Measured("zero", "y", SMALL),
    measured=(Measured("zero", "y", SMALL),),
    implementation_baseline=8e-8,
    implementation_candidate=6e-8,
    weights=0.0,
    tensors=(
        tensor("layer 0 kernel", 5, 8),
        tensor("layer 0 recurrent kernel", 8, 8),
        tensor("layer 0 bias", 8, rounded=3),
    ),
    heat=HEAT,
)
DIFFERENT_PAIR = replace(
    EQUIVALENT_PAIR,
    verdict="DIFFERENT",
    reasons=(
        "3800 of 4096 states of B do not follow from the weights of A, even with rounding",
        "it begins in layer 0 at step 1, step 0 holds: look at the recurrent kernel",
        "layer 0 kernel: 40 of 40 weights differ, by up to 0.25",
    ),
    budgets=(HOLDS, FAILS),
    adequacy=None,
    headline=Measured("from_h0", "h_n[0]", LARGE),
    measured=(Measured("zero", "y", LARGE), Measured("from_h0", "h_n[0]", LARGE)),
    weights=0.75,
    tensors=(tensor("layer 0 kernel", 5, 8, differing=40), *EQUIVALENT_PAIR.tensors[1:]),
)
BROKEN_PAIR = replace(
    EQUIVALENT_PAIR,
    candidate="C",
    verdict="DIFFERENT",
    reasons=("the candidate: 4 states are NaN or infinite",),
    budgets=(HOLDS, None),
    adequacy=None,
    own_budgets=(HOLDS, None),
    headline=Measured("zero", "y", replace(SMALL, candidate_value=NAN, beyond=4, first_step=21, nonfinite=(0, 4))),
    implementation_candidate=None,
    weights=None,
    tensors=(),
    heat=replace(HEAT, rows=((0.0, 3e-8, 6e-8, NAN), *HEAT.rows[1:])),
)

EQUIVALENT = Comparison("EQUIVALENT", (KERAS, TORCH), (EQUIVALENT_PAIR,), ((0.0, 1.2e-7), (1.2e-7, 0.0)), INPUTS)
DIFFERENT = Comparison("DIFFERENT", (KERAS, TORCH), (DIFFERENT_PAIR,), ((0.0, 0.75), (0.75, 0.0)), INPUTS)
THREE = Comparison(
    "DIFFERENT",
    (KERAS, TORCH, TRACE),
    (EQUIVALENT_PAIR, BROKEN_PAIR),
    ((0.0, 1.2e-7, NAN), (1.2e-7, 0.0, NAN), (NAN, NAN, NAN)),
    {**INPUTS, "origin": "trace.npz", "seed": None},
)

INSPECTION = Inspection(
    source="model.pt#encoder.rnn",
    form="PyTorch zip",
    framework="torch",
    writer="",
    part="encoder.rnn",
    shape="1 layer, 5 -> 8, tanh",
    tensors=(
        TensorLine("encoder.rnn.weight_ih_l0", (8, 5), "float32", "layer 0 kernel (transposed)", ""),
        TensorLine("head.weight", (2, 8), "float32", "", "another layer"),
        TensorLine("steps", (), "int64", "", ""),
    ),
    canonical={"layer 0 kernel": (1, 5, 8)},
    parameter_counts={"separate": 112, "concatenated": 112, "two biases": 1120},
    assumptions=("activation tanh: not in the file, the framework's default",),
    not_compared=(),
    notes=("holds two biases",),
    weights_fingerprint="0123456789abcdef" * 4,
)


def named(text: str) -> Comparison:
    """`THREE` with `text` wherever a file, its writer or the user names something."""
    side = replace(TORCH, source=text, writer=text, assumptions=(text,), notes=(text,), not_compared=(text,), how=text)
    return replace(THREE, sides=(KERAS, side, TRACE), inputs={**INPUTS, "origin": text})
