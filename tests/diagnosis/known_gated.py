"""Mistakes that people reported of networks with gates: what each does to a right network, and what has to be found.

Names are those of the reports; `test_known_gated_mistakes` plants them in files and recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from networks import gated, gates

from rnnverify.canonical import Array, CellKind, Direction, Layer, Network
from rnnverify.mistakes import each

Plant = Callable[[Network], Network]
ALL = ("kernel", "recurrent_kernel", "bias_input", "bias_recurrent")


def network(
    cell: CellKind, I: int, H: int, depth: int = 1, both: bool = False, seed: int = 0, one_bias: bool = False
) -> Network:
    """Of trained-looking weights; with `one_bias` the second is zero, but in the candidate of a GRU."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    for _ in range(depth):
        width = layers[-1].output_size if layers else I
        directions = [gates(rng, cell, width, H, reverse=bool(j)) for j in range(1 + both)]
        layers.append(Layer(tuple(map(_one_bias, directions)) if one_bias else tuple(directions), cell=cell))
    return Network(tuple(layers))


def _one_bias(d: Direction) -> Direction:
    kept = np.zeros_like(d.bias_recurrent)
    if len(kept) == 3:
        kept[2] = d.bias_recurrent[2]
    return replace(d, bias_recurrent=kept)


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


def coupled(d: Direction) -> Direction:
    return replace(d, **{name: np.stack([w[0], -w[0], *w[2:]]) for name in ALL for w in [getattr(d, name)]})


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


def blocks(order: Sequence[int], names: Sequence[str] = ALL) -> Plant:
    return lambda n: each(n, lambda d: replace(d, **{name: getattr(d, name)[list(order)] for name in names}))


def biases(change: Callable[[Array, Array], tuple[Array, Array]]) -> Plant:
    def one(d: Direction) -> Direction:
        b, c = change(d.bias_input, d.bias_recurrent)
        return replace(d, bias_input=b, bias_recurrent=c)

    return lambda n: each(n, one)


def candidate(change: Callable[[Array, Array], tuple[Array, Array]]) -> Plant:
    def both(b: Array, c: Array) -> tuple[Array, Array]:
        b, c = b.copy(), c.copy()
        b[2], c[2] = change(b[2].copy(), c[2].copy())
        return b, c

    return biases(both)


def gate_bias(gate: int, more: float) -> Plant:
    def change(b: Array, c: Array) -> tuple[Array, Array]:
        b = b.copy()
        b[gate] += np.float32(more)
        return b, c

    return biases(change)


def kernels(change: Callable[[Array], Array], *names: str) -> Plant:
    return lambda n: each(n, lambda d: replace(d, **{name: change(getattr(d, name)) for name in names}))


def by_gate(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda w: np.stack([change(block) for block in w])


def over_hx(d: Direction) -> Direction:
    rows, P = np.concatenate([d.kernel, d.recurrent_kernel], axis=1), d.state_size
    return replace(d, kernel=rows[:, P:], recurrent_kernel=rows[:, :P])


def as_cudnn(w: Array) -> Array:
    """What plain Keras reads of a (H, I) buffer of cuDNN that it takes for (I, H)."""
    return w.T.reshape(w.shape)


def both_ways(change: Callable[[Direction, Direction], tuple[Direction, Direction]]) -> Plant:
    return lambda n: Network(tuple(replace(layer, directions=change(*layer.directions)) for layer in n.layers))


def by_unit(order: Sequence[int], names: Sequence[str] = ALL) -> Plant:
    """The columns of unit 0 (gates in `order`), then of unit 1, cut into blocks of H."""

    def move(w: Array) -> Array:
        G, H = len(w), w.shape[-1]
        columns = [w[g][..., j] for j in range(H) for g in order]
        return np.stack([np.stack(columns[g * H : (g + 1) * H], axis=-1) for g in range(G)])

    return kernels(move, *names)


def of_layers(**changes: object) -> Plant:
    return lambda n: Network(tuple(replace(y, gating=replace(y.gating, **changes)) for y in n.layers))  # type: ignore[arg-type]  # of Gating


def turned(n: Network) -> Network:
    (d,) = n.layers[0].directions
    return Network((replace(n.layers[0], directions=(replace(d, reverse=True),)), *n.layers[1:]))


def mixed(b: Array, c: Array) -> tuple[Array, Array]:
    chosen = np.stack([b[0], c[1], *b[2:]])
    return chosen, 0 * chosen


def transposed(w: Array) -> Array:
    return w.T


def int8(w: Array) -> Array:
    scale = np.abs(w).max() / 127
    return np.asarray(np.round(w / scale) * scale, np.float32)


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


def uncoupled(d: Direction) -> Direction:
    """The forget gate by weights that lay in the file and did not count."""
    other = drawn(d)
    return with_gate(d, other, 1)


def with_gate(d: Direction, other: Direction, gate: int) -> Direction:
    def mixed(a: Array, b: Array) -> Array:
        return np.stack([b[k] if k == gate else a[k] for k in range(len(a))])

    return replace(d, **{name: mixed(getattr(d, name), getattr(other, name)) for name in ALL})


def drawn(d: Direction) -> Direction:
    """As PyTorch initialises it."""
    rng = np.random.default_rng(d.reverse)
    bound = d.hidden_size**-0.5
    return d.mapped(lambda w: rng.uniform(-bound, bound, w.shape).astype(w.dtype))


def orthogonal(d: Direction) -> Direction:
    """As Keras initialises it."""
    rng = np.random.default_rng(d.reverse)
    G, P, H = d.recurrent_kernel.shape
    rows = np.linalg.qr(rng.normal(size=(G * H, P)))[0].T.astype(np.float32)
    bound = (6 / (d.input_size + G * H)) ** 0.5
    bias = np.zeros_like(d.bias_input)
    bias[1] = G == 4
    kernel = rng.uniform(-bound, bound, d.kernel.shape).astype(np.float32)
    return replace(
        d,
        kernel=kernel,
        recurrent_kernel=np.stack(np.split(rows, G, axis=1)),
        bias_input=bias,
        bias_recurrent=np.zeros_like(bias),
    )


def noise(size: float, add: bool = True) -> Plant:
    """Every weight moved by as much of the spread of its tensor; or, without `add`, replaced by that."""

    def plant(n: Network) -> Network:
        rng = np.random.default_rng(3)
        return n.mapped(lambda w: np.asarray(w * add + size * np.std(w) * rng.normal(size=w.shape), np.float32))

    return plant


def squares(n: Network) -> Network:
    rng = np.random.default_rng(4)
    return n.mapped(lambda w: np.asarray(1e-4 * np.any(w) * rng.normal(size=w.shape) ** 2, np.float32))


def dropped(w: Array) -> Array:
    kept = np.random.default_rng(5).uniform(size=w.shape) < 0.5
    return np.asarray(w * kept * 2, np.float32)


def norms(w: Array) -> Array:
    scale = np.random.default_rng(6).uniform(0.5, 2, (len(w), 1, w.shape[2]))
    return np.asarray(w * scale, np.float32)


def second_row_first(d: Direction) -> Direction:
    assert d.projection is not None
    return replace(d, projection=d.projection[[1, 0, *range(2, len(d.projection))]])


def without_peepholes(d: Direction) -> Direction:
    assert d.peephole is not None
    return replace(d, peephole=np.zeros_like(d.peephole))


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
