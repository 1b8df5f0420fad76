"""Networks that are run side by side give what each gives alone."""

import numpy as np
import pytest
from networks import batches
from sides import NETWORKS

from rnnverify import reference
from rnnverify.canonical import Network
from rnnverify.diagnosis.families import FAMILIES
from rnnverify.diagnosis.hypothesis import Seen
from rnnverify.diagnosis.together import outputs


def every(network: Network) -> list[Network]:
    seen = Seen(None, (), "float32")
    hypotheses = [h for name in ("weights", "biases", "activations", "layers") for h in FAMILIES[name]]
    return [network, *(made for h in hypotheses for _, made in h.make(network, seen))]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("start", [0, 1], ids=["zeros", "states"])
def test_each_gives_what_it_gives_alone(kind: str, start: int) -> None:
    batch = batches(NETWORKS[kind], 3, 7)[start]
    networks = every(NETWORKS[kind])
    with np.errstate(all="ignore"):
        found = outputs(networks, batch)
        for network, y in zip(networks, found, strict=True):
            alone = reference.run(network, [batch]).runs[batch.name].y
            assert np.allclose(y, alone, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("kind", ["single", "both ways", "stacked"])
def test_from_recorded_outputs_a_right_network_gives_them_and_a_wrong_one_is_off_by_single_steps(kind: str) -> None:
    network = NETWORKS[kind]
    batch = batches(network, 3, 7)[0]
    recorded = reference.run(network, [batch]).runs[batch.name].y
    networks = every(network)
    with np.errstate(all="ignore"):
        found = outputs(networks, batch, recorded)
    assert np.allclose(found[0], recorded, atol=1e-12)
    off = [float(np.abs(y - recorded).max()) for y in found[1:]]
    assert max(off) > 1e-2
