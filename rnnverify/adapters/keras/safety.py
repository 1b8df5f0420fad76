"""Whether Keras's own loader may be tried on a file: only where its configuration names built-in classes alone.

A configuration can name any importable object, and has run code that way (CVE-2024-3660, CVE-2025-1550): what
may be named is listed here, and all else keeps the file away from the loader.
"""

from __future__ import annotations

from rnnverify.adapters.keras.cells import CELLS, Config
from rnnverify.adapters.keras.layers import RECURRENT, built_in
from rnnverify.errors import printable

_LAYERS = RECURRENT | {*CELLS, "StackedRNNCells", "TimeDistributed", "ConvLSTM1D", "ConvLSTM2D"}
_LAYERS |= {"InputLayer", "Dense", "Embedding", "Masking", "Dropout", "SpatialDropout1D", "GaussianNoise"}
_LAYERS |= {"GaussianDropout", "ActivityRegularization", "Activation", "Identity", "BatchNormalization"}
_LAYERS |= {"LayerNormalization", "Reshape", "Flatten", "Permute", "RepeatVector", "Concatenate", "Add", "Multiply"}
_LAYERS |= {"Average", "Maximum", "Minimum", "Subtract", "Dot", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"}
_LAYERS |= {"Conv1D", "MaxPooling1D", "AveragePooling1D", "GlobalMaxPooling1D", "GlobalAveragePooling1D"}
_MODELS = {"Sequential", "Functional", "Model"}
_INITIALIZERS = {"Zeros", "Ones", "Constant", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling"}
_INITIALIZERS |= {"GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal"}
_INITIALIZERS |= {"Orthogonal", "OrthogonalInitializer", "Identity", "IdentityInitializer"}
_OTHERS = {"L1", "L2", "L1L2", "OrthogonalRegularizer", "MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm"}
_OTHERS |= {"DTypePolicy", "Policy", "__keras_tensor__"}
ALLOWED = _LAYERS | _MODELS | _INITIALIZERS | _OTHERS


def why_not(model: Config) -> str:
    """Why the loader may not be tried, as a phrase; empty where it may."""
    # loaded with compile=False, Keras drops the outermost model's compile_config before it reads anything
    nodes: list[object] = [value for key, value in model.items() if key != "compile_config"]
    nodes.append({key: model.get(key) for key in ("class_name", "module", "registered_name")})
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        elif isinstance(node, dict):
            nodes += node.values()
            name = node.get("class_name")
            strange = name is not None and name not in ALLOWED if not isinstance(name, (list, dict)) else True
            if strange or not built_in(node):
                named = node.get("registered_name") or name or node.get("module")
                return f"its configuration names {printable(named, 60)!r}, which is not one of Keras's common classes"
    return ""
