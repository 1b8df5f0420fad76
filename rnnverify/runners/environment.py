"""What a runner computes with: versions, processor, threads and the switches that change how floats are rounded."""

from __future__ import annotations

import functools
import os
import platform
import sys
from typing import Any

_INSTRUCTIONS = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "asimd", "sve")


def versions() -> Any:
    found = {"python": platform.python_version()}
    for name in ("numpy", "torch", "tensorflow", "keras", "tf_keras", "onnx", "onnxruntime"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version:
            found[name] = str(version)
    return found


def environment(job: dict[str, Any]) -> Any:
    """{what: how it is set}, both words; only what could be found out."""
    found = {
        "machine": platform.machine(),
        "system": platform.system() + " " + platform.release(),
        "instructions": instructions(),
        "threads": str(job["threads"]),
    }
    for name, ask in (("torch", of_torch), ("tensorflow", of_tensorflow), ("jax", of_jax)):
        ran = name != "jax" or job["framework"] in ("flax", "equinox")  # Keras imports JAX too
        if ran and name in sys.modules:
            try:
                found.update(ask(sys.modules[name]))
            except Exception as error:  # a framework too old or broken to tell has run all the same
                found[name] = "does not tell: " + type(error).__name__
    return {name: value for name, value in found.items() if value}


@functools.lru_cache(None)
def instructions() -> Any:
    """The vector instructions of the processor that matter to sums; empty where the system does not tell."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for line in file if line.startswith(("flags", "Features"))]
    except OSError:
        return ""
    flags = set(lines[0].split()) if lines else set()
    return " ".join(name for name in _INSTRUCTIONS if name in flags)


def of_torch(torch: Any) -> Any:
    precision = getattr(torch, "get_float32_matmul_precision", lambda: "highest")()
    return {
        "device": "cpu",  # where the runner keeps its modules
        "blas": "MKL" if torch.backends.mkl.is_available() else "other",
        "onednn": "on" if torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled else "off",
        "products": "float32" if precision == "highest" else precision + " precision",
    }


def of_tensorflow(tf: Any) -> Any:
    device = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    reduced = device == "gpu" and tf.config.experimental.tensor_float_32_execution_enabled()
    return {
        "device": device,
        "blas": "Eigen",
        "onednn": {"1": "on", "0": "off"}.get(os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""), "default"),
        "products": "tf32" if reduced else "float32",
    }


def of_jax(jax: Any) -> Any:
    return {
        "device": jax.default_backend(),
        "blas": "Eigen",
        "threads": str(os.cpu_count()),  # XLA takes what there is
        "products": "float32" if jax.config.jax_default_matmul_precision == "highest" else "default precision",
    }
