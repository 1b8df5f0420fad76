"""Every hypothesis, family by family; the first that fits is the one that is reported."""

from __future__ import annotations

from collections.abc import Mapping

from rnnverify.diagnosis import (
    activations,
    biases,
    coupling,
    digits,
    formulas,
    gated_biases,
    gates,
    layers,
    order,
    outputs,
    runs,
    scales,
    weights,
)
from rnnverify.diagnosis.hypothesis import Hypothesis, both_ways
from rnnverify.diagnosis.outputs import Remake
from rnnverify.diagnosis.runs import Restore

ROUNDED = Hypothesis(digits.rounded, None, in_pairs=False)
UNITS = both_ways(order.units_in_another_order)
SHUFFLED = (
    both_ways(order.rows_in_another_order),
    both_ways(order.columns_in_another_order),
)
"""Read off what the other side shows, and so right where they can be made at all."""

FAMILIES: Mapping[str, tuple[Hypothesis, ...]] = {
    "weights": (
        both_ways(weights.recurrent_transposed),
        both_ways(weights.kernel_transposed),
        both_ways(weights.kernels_swapped),
        both_ways(weights.kernel_reshaped),
        both_ways(weights.recurrent_reshaped),
        both_ways(weights.concatenated_the_other_way),
        Hypothesis(weights.recurrence_lost, weights.recurrence_lost_back),
        Hypothesis(weights.one_kernel_for_both, None),
    ),
    "gates": (
        both_ways(gates.gates_in_another_order),
        both_ways(gates.gates_of_one_tensor),
        both_ways(gates.gates_interleaved),
        both_ways(gates.update_gate_complemented),
        both_ways(gates.one_gate_transposed),
        both_ways(gates.gates_in_a_rare_order, in_pairs=False),
        both_ways(gates.biases_interleaved, in_pairs=False),
    ),
    "gated biases": (
        Hypothesis(gated_biases.merged_outside_reset, None),
        Hypothesis(gated_biases.merged_inside_reset, None),
        both_ways(gated_biases.candidate_biases_swapped),
        Hypothesis(gated_biases.forget_bias_not_added, gated_biases.forget_bias_added_twice),
        Hypothesis(gated_biases.forget_bias_added_twice, gated_biases.forget_bias_not_added),
        both_ways(gated_biases.biases_reshaped, in_pairs=False),
        Hypothesis(gated_biases.biases_cut_elsewhere, None, in_pairs=False),
    ),
    "biases": (
        Hypothesis(biases.bias_missing, biases.bias_missing_back),
        Hypothesis(biases.recurrent_bias_dropped, None),
        Hypothesis(biases.input_bias_dropped, None),
        Hypothesis(biases.bias_doubled, biases.bias_halved),
        Hypothesis(biases.bias_halved, biases.bias_doubled),
        Hypothesis(biases.one_bias_twice, None),
        both_ways(biases.biases_exchanged),
    ),
    "formulas": (
        both_ways(formulas.reset_on_the_other_side),
        both_ways(formulas.gate_activation_is_another),
        both_ways(formulas.output_activation_is_another),
        Hypothesis(formulas.forget_bias_after_activation, None, in_pairs=False),
        both_ways(formulas.cell_clip_ignored),
        Hypothesis(formulas.peepholes_not_loaded, None),
        both_ways(formulas.peepholes_in_another_order),
        Hypothesis(coupling.coupling_ignored, None),
        Hypothesis(coupling.gates_coupled, None, in_pairs=False),
    ),
    "activations": (
        Hypothesis(activations.activation_missing, activations.activation_missing_back),
        both_ways(activations.activation_is_another),
        both_ways(activations.activation_is_a_rare_one, in_pairs=False),
    ),
    "layers": (
        both_ways(layers.layers_swapped),
        Hypothesis(layers.layer_repeated, None),
        both_ways(layers.directions_swapped),
        Hypothesis(layers.directions_tied, layers.directions_tied_back),
        both_ways(layers.halves_swapped),
        both_ways(layers.merged_otherwise),
    ),
    "order": (
        both_ways(order.time_reversed),
        both_ways(order.not_turned_back),
        UNITS,
        *SHUFFLED,
    ),
    "digits": (
        ROUNDED,
        Hypothesis(scales.kernel_scaled, None, in_pairs=False),
        Hypothesis(scales.columns_scaled, None, in_pairs=False),
        Hypothesis(scales.weights_dropped, None, in_pairs=False),
    ),
}
"""Mistakes in the network: in weights, activations, or the way it is put together."""

LAST_RESORT = (both_ways(biases.bias_is_another),)
"""What is said only where nothing more exact can be."""

RUNS: tuple[Restore, ...] = (
    runs.batch_and_time_swapped,
    runs.reshaped_to_time_major,
    runs.initial_state_ignored,
    runs.initial_states_exchanged,
    runs.state_carried,
    runs.layers_not_chained,
    runs.final_state_of_last_step,
    runs.padding_not_masked,
)
"""Mistakes in how a network is run."""

OUTPUTS: tuple[Remake, ...] = (
    outputs.output_turned_round,
    outputs.halves_exchanged,
    outputs.directions_interleaved,
    outputs.activation_doubled,
    outputs.last_step_everywhere,
    outputs.one_step_late,
    outputs.dropout_active,
)
"""Mistakes in what is done with the outputs."""
