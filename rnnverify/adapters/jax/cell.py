"""One recurrent cell of a file that keeps a tree of JAX arrays: Flax's or Equinox's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rnnverify.containers.contents import StoredTensor


@dataclass(frozen=True)
class Cell:
    """One cell, by the names of its arrays; nothing in them is checked yet."""

    place: tuple[str, ...]  # the keys of the layer that it makes up
    side: str  # "forward_rnn" or "backward_rnn", as nn.Bidirectional calls them; "" where it is neither
    kind: tuple[str, str]  # interface and class: ("linen", "GRUCell"), ("equinox", "LSTMCell")
    sizes: tuple[int, int]  # input and hidden size, as the first shapes have them; zeros where there are none
    weights: Mapping[str, StoredTensor]  # by parameter: "ir/kernel", "weight_ih"

    @property
    def name(self) -> str:
        return "/".join(self.place)

    @property
    def words(self) -> str:
        """Whose class it is: flax.linen.GRUCell."""
        api, name = self.kind
        return f"{'equinox.nn' if api == 'equinox' else f'flax.{api}'}.{name}"
