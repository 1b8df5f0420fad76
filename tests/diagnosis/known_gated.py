"""Mistakes that people reported of networks with gates: what each does to a right network, and what has to be found.

Names are those of the reports; `test_known_gated_mistakes` plants them in files and recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from gated_changes import (
    ALL,
    Plant,
    as_cudnn,
    biases,
    blocks,
    both_ways,
    by_gate,
    by_unit,
    candidate,
    coupled,
    drawn,
    dropped,
    gate_bias,
    int8,
    kernels,
    mixed,
    network,
    noise,
    norms,
    of_layers,
    orthogonal,
    over_hx,
    second_row_first,
    squares,
    transposed,
    turned,
    uncoupled,
    with_gate,
    without_peepholes,
)
from networks import gated

from rnnverify.canonical import CellKind, Network
from rnnverify.mistakes import each

SHAPES: Mapping[str, Callable[[CellKind], Network]] = {
    "one": lambda cell: network(cell, 5, 8, seed=41),
    "one bias": lambda cell: network(cell, 5, 8, seed=42, one_bias=True),
    "square": lambda cell: network(cell, 8, 8, seed=43),
    "stack": lambda cell: network(cell, 6, 6, depth=2, seed=44, one_bias=True),
    "both": lambda cell: network(cell, 5, 6, both=True, seed=45),
    "both, stack": lambda cell: network(cell, 10, 5, depth=2, both=True, seed=46),
    "before": lambda cell: biases(lambda b, c: (b, 0 * c))(of_layers(reset_after=False)(network(cell, 5, 8, seed=47))),
    "hard": lambda cell: of_layers(activation="keras2_hard_sigmoid")(network(cell, 5, 8, seed=48)),
    "peepholes": lambda _: gated("lstm", 5, 8, seed=49, peepholes=True),
    "projected": lambda _: gated("lstm", 5, 8, seed=50, P=6),
    "coupled": lambda cell: each(network(cell, 5, 8, seed=51, one_bias=True), coupled),
}

FORMS = ("keras", "torch", "tensorflow", "onnx", "flax")
KEEP_BOTH = ("torch", "onnx")
"""Those that keep the two biases of an LSTM apart."""

STATE_IT = ("onnx",)
"""That says in its file what a step computes, and where it begins; the others borrow it from the right side."""


@dataclass(frozen=True)
class Known:
    """One mistake, in the shapes in which it is planted."""

    plant: Plant
    wanted: str | tuple[str, ...]  # what is found
    shapes: Sequence[str] = ("one", "stack", "both, stack")
    cells: Sequence[CellKind] = ("gru", "lstm")
    recorded: bool = True  # whether a recording can show it: weights that are in no file cannot be told from others
    proof: str = "certain"  # of two files
    right: Sequence[str] = FORMS  # frameworks whose files hold what the right side has to show
    wrong: Sequence[str] = FORMS

    @property
    def names(self) -> tuple[str, ...]:
        return (self.wanted,) if isinstance(self.wanted, str) else self.wanted


TRANSPOSED, RESHAPED = (
    "the recurrent kernel is transposed",
    "the input kernel is reshaped where it should be transposed",
)
ORDER, SOME = "the gates are in another order", "some tensors have their gates in another order"
CUT, INTERLEAVED = "two biases are cut apart at the wrong places", "the gates are interleaved unit by unit"
FEWER, ANOTHER = "the weights are rounded to fewer digits", "the gates have another activation"
RESET = "the reset gate acts on the other side of the recurrent product"
COUPLED = "input and forget gate are coupled on one side only"
FRESH, PARTLY = "the weights look as if they were never loaded", "only a part of the weights is loaded"
TRAINED = "the weights look like another state of the same training"
MOMENTS = "these look like an optimizer's numbers, not like weights"
TWO_BIASES = ("one", "both")
GRU: tuple[CellKind, ...] = ("gru",)
LSTM: tuple[CellKind, ...] = ("lstm",)
NO_SQUARE = ("one", "both")


KNOWN: Mapping[str, Known] = {
    "kernel_reshaped_not_transposed": Known(
        lambda n: kernels(by_gate(as_cudnn), "kernel")(kernels(by_gate(transposed), "recurrent_kernel")(n)),
        (TRANSPOSED, RESHAPED),
        NO_SQUARE,
    ),
    "kernel_reshaped_not_transposed, b": Known(kernels(by_gate(as_cudnn), "kernel"), RESHAPED, NO_SQUARE),
    "recurrent_transposed": Known(kernels(by_gate(transposed), "recurrent_kernel"), TRANSPOSED),
    "kernel_transposed_square": Known(
        kernels(by_gate(transposed), "kernel"), "a square input kernel is transposed", ("square", "stack")
    ),
    "WU_swapped_square": Known(
        lambda n: each(n, lambda d: replace(d, kernel=d.recurrent_kernel, recurrent_kernel=d.kernel)),
        "input and recurrent kernel are swapped",
        ("square", "stack"),
    ),
    "concat_hx_vs_xh": Known(
        lambda n: each(n, over_hx), "a kernel over [x, h] is read as one over [h, x]", ("one", "both", "both, stack")
    ),
    "layers_swapped": Known(lambda n: Network(n.layers[::-1]), "two layers are swapped", ("stack", "both, stack")),
    "fw_bw_swapped": Known(
        both_ways(lambda f, b: (replace(b, reverse=False), replace(f, reverse=True))),
        "forward and backward weights are swapped",
        ("both", "both, stack"),
    ),
    "direction_tied": Known(
        both_ways(lambda f, _: (f, replace(f, reverse=True))),
        "the weights of one direction are used in both",
        ("both", "both, stack"),
    ),
    "bias_hh_dropped": Known(
        biases(lambda b, c: (b, 0 * c)), "the second of two biases is dropped", TWO_BIASES, right=KEEP_BOTH
    ),
    "bias_added_twice": Known(biases(lambda b, c: (2 * b, 2 * c)), "one bias is copied into both"),
    "bias_halved": Known(biases(lambda b, c: (b / 2, c / 2)), "the bias is halved"),
    "bias_wrong_half_slice": Known(biases(mixed), CUT, TWO_BIASES, right=KEEP_BOTH),
    "bias_missing": Known(biases(lambda b, c: (0 * b, 0 * c)), "the bias is not loaded"),
    "gru_bias_merged_outside_reset": Known(
        candidate(lambda b, c: (b + c, 0 * c)),
        "the recurrent bias of the candidate is added to its input bias",
        cells=GRU,
    ),
    "gru_bias_merged_inside_reset": Known(
        candidate(lambda b, c: (0 * b, b + c)),
        "the input bias of the candidate is added to its recurrent bias",
        cells=GRU,
    ),
    "gru_bias_transposed_2x3H": Known(
        biases(lambda b, c: (c, b)), "input and recurrent bias are swapped", TWO_BIASES, GRU
    ),
    "gru_bias_transposed_2x3H, reshaped": Known(
        biases(lambda b, c: tuple(r.reshape(b.shape) for r in np.stack([b.ravel(), c.ravel()], 1).reshape(2, -1))),  # type: ignore[arg-type,return-value]  # two
        "two biases are mixed by a reshape",
        TWO_BIASES,
        GRU,
    ),
    "ln_or_bias_layout_interleaved": Known(by_unit([2, 0, 1, 3]), INTERLEAVED, cells=LSTM),
    "ln_or_bias_layout_interleaved, bias": Known(by_unit([0, 1, 2, 3], ALL[2:]), INTERLEAVED, cells=LSTM),
    "gru_zr_swapped": Known(blocks([1, 0, 2]), ORDER, cells=GRU),
    "gru_zr_swapped_partial": Known(blocks([1, 0, 2], (ALL[0], *ALL[2:])), SOME, TWO_BIASES, GRU),
    "gru_zr_swapped_partial, U": Known(blocks([1, 0, 2], ALL[1:2]), SOME, cells=GRU),
    "lstm_ijfo_as_ifgo": Known(blocks([0, 2, 1, 3]), ORDER, cells=LSTM),
    "lstm_icfo_keras1": Known(blocks([0, 2, 1, 3]), ORDER, ("square",), LSTM),
    "lstm_iofc_onnx": Known(blocks([0, 3, 1, 2]), ORDER, cells=LSTM),
    "lstm_ifog": Known(blocks([0, 1, 3, 2]), ORDER, cells=LSTM),
    "lstm_cfoi_dl4j": Known(blocks([2, 1, 3, 0]), ORDER, cells=LSTM),
    "gru_reset_before_vs_after": Known(of_layers(reset_after=False), RESET, cells=GRU),
    "onnx_linear_before_reset_missing": Known(of_layers(reset_after=False), RESET, ("square",), GRU),
    "gru_z_complemented": Known(
        kernels(lambda w: np.stack([w[0], -w[1], w[2]]), *ALL),
        "the update gate keeps what it should replace: z stands for 1 - z",
        cells=GRU,
    ),
    "forget_bias_not_added": Known(gate_bias(1, -1), "the forget bias is not added", cells=LSTM),
    "forget_bias_not_added, of 2.5": Known(gate_bias(1, -2.5), "the forget bias is not added", cells=LSTM),
    "forget_bias_added_twice": Known(gate_bias(1, 1), "the forget bias is added twice", cells=LSTM),
    "hard_sigmoid_vs_sigmoid": Known(
        of_layers(activation="keras2_hard_sigmoid"), ANOTHER, right=KEEP_BOTH, wrong=STATE_IT
    ),
    "hard_sigmoid_vs_sigmoid, of Keras 3": Known(
        of_layers(activation="hard_sigmoid"), ANOTHER, right=KEEP_BOTH, wrong=STATE_IT
    ),
    "activation_alpha_beta_ignored": Known(
        of_layers(activation="hard_sigmoid(0.25,0.5)"), ANOTHER, recorded=False, right=KEEP_BOTH, wrong=STATE_IT
    ),
    "activation_relu_vs_tanh": Known(
        lambda n: n.with_activations(("relu",) * len(n.layers)),
        "another activation stands in its place",
        right=KEEP_BOTH,
        wrong=STATE_IT,
    ),
    "activation_missing_or_doubled": Known(
        of_layers(output="linear"),
        "the cell state is emitted through another activation",
        cells=LSTM,
        right=KEEP_BOTH,
        wrong=STATE_IT,
    ),
    "recurrence_lost": Known(kernels(lambda w: 0 * w, "recurrent_kernel"), "the recurrent kernel is not loaded"),
    "sequence_reversed_or_go_backwards_ignored": Known(
        turned, "a sequence is read from the wrong end", ("one", "stack"), right=KEEP_BOTH, wrong=STATE_IT
    ),
    "float16_rounded": Known(lambda n: n.mapped(lambda w: w.astype(np.float16).astype(np.float32)), FEWER),
    "int8_quantised": Known(kernels(int8, *ALL[:2]), FEWER),
    "hard_sigmoid_vs_sigmoid, back": Known(
        of_layers(activation="sigmoid"), ANOTHER, ("hard",), right=STATE_IT, wrong=STATE_IT
    ),
    "hard_sigmoid_slope_changed": Known(
        of_layers(activation="hard_sigmoid"), ANOTHER, ("hard",), right=STATE_IT, wrong=STATE_IT
    ),
    "gru_reset_before_vs_after, after": Known(of_layers(reset_after=True), RESET, ("before",), GRU),
    "peephole_ignored": Known(
        lambda n: each(n, without_peepholes), "the peepholes are not loaded", ("peepholes",), LSTM, right=("onnx",)
    ),
    "cifg_ignored": Known(lambda n: each(n, uncoupled), COUPLED, ("coupled",), LSTM, recorded=False),
    "cifg_ignored, and reordered": Known(
        lambda n: blocks([0, 2, 1, 3])(each(n, uncoupled)), (COUPLED, ORDER), ("coupled",), LSTM, recorded=False
    ),
    "cifg_ignored, the other way": Known(lambda n: each(n, coupled), COUPLED, ("one", "both"), LSTM),
    "lstm_ijfo_as_ifgo, coupled": Known(blocks([0, 2, 1, 3]), ORDER, ("coupled",), LSTM),
    "lstm_ijfo_as_ifgo, projected": Known(blocks([0, 2, 1, 3]), ORDER, ("projected",), LSTM),
    "rows of a projection": Known(
        lambda n: each(n, second_row_first),
        "the rows of a kernel are in another order",
        ("projected",),
        LSTM,
        recorded=False,
    ),
    "weights_not_loaded_random": Known(lambda n: each(n, orthogonal), FRESH, recorded=False, proof="suspected"),
    "weights_not_loaded_random, PyTorch": Known(
        lambda n: each(n, drawn), FRESH, recorded=False, proof="suspected", wrong=KEEP_BOTH
    ),
    "partially_loaded_layer": Known(
        lambda n: each(n, lambda d: replace(d, recurrent_kernel=drawn(d).recurrent_kernel)),
        PARTLY,
        recorded=False,
        proof="suspected",
    ),
    "partially_loaded_layer, a gate": Known(
        lambda n: each(n, lambda d: with_gate(d, drawn(d), 1)), PARTLY, ("one",), recorded=False, proof="suspected"
    ),
    "ema_vs_raw": Known(noise(0.01), TRAINED, recorded=False, proof="suspected"),
    "old_epoch_checkpoint": Known(noise(0.1), TRAINED, recorded=False, proof="suspected"),
    "optimizer_slot_read_as_weight": Known(squares, MOMENTS, recorded=False, proof="suspected", wrong=KEEP_BOTH),
    "optimizer_slot_read_as_weight, first moment": Known(
        noise(0.002, add=False), MOMENTS, recorded=False, proof="suspected", wrong=KEEP_BOTH
    ),
    "weightdrop_raw_vs_effective": Known(
        kernels(dropped, "recurrent_kernel"), "some weights of a kernel are dropped out", recorded=False
    ),
    "weightdrop_raw_vs_effective, weight norm": Known(
        kernels(norms, "recurrent_kernel"), "the columns of a tensor are multiplied by constants", recorded=False
    ),
}
"""By the name of the report."""
