"""Many small models with their ports, to measure `rnnverify check` with: python tests/bench/pairs.py FOLDER COUNT"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import save_file

FIXTURE = Path(__file__).parents[2] / "fixtures" / "simple_rnn.h5"


def write_pairs(folder: Path, count: int) -> None:
    """`count` Keras files of other weights each, their ports, and a config that declares them all."""
    rng = np.random.default_rng(0)
    for name in ("keras", "torch"):
        (folder / name).mkdir(parents=True)
    for k in range(count):
        path = folder / "keras" / f"{k:03}.h5"
        shutil.copy(FIXTURE, path)
        weights = {}
        with h5py.File(path, "r+") as file:
            found: list[h5py.Dataset] = []
            file["model_weights"].visititems(lambda _, item, found=found: found.append(item))
            for dataset in (item for item in found if isinstance(item, h5py.Dataset)):
                dataset[...] = 0.5 * rng.normal(size=dataset.shape)
                weights[dataset.name.rpartition("/")[2].removesuffix(":0")] = np.array(dataset, np.float32)
        ported = {
            "weight_ih_l0": weights["kernel"].T,
            "weight_hh_l0": weights["recurrent_kernel"].T,
            "bias_ih_l0": weights["bias"],
            "bias_hh_l0": np.zeros_like(weights["bias"]),
        }
        port = {name: np.ascontiguousarray(array) for name, array in ported.items()}
        save_file(port, folder / "torch" / f"{k:03}.safetensors")
    config = '[[compare]]\nname = "pair-*"\nsides = ["keras/*.h5", "torch/*.safetensors"]\n'
    (folder / "rnnverify.toml").write_text(config)


if __name__ == "__main__":
    write_pairs(Path(sys.argv[1]), int(sys.argv[2]))
