"""onnx's own test cases: models of one operator and of a few, with inputs and outputs."""

import re
import warnings

import numpy as np
import onnx
import pytest

import onnx_vectors
from convkit import onnx_backend

KINDS = {"node": 1765, "pytorch-converted": 82, "pytorch-operator": 35, "simple": 23}
# What convkit refuses: element types, what is no tensor, control flow, quantised and other domains' operators.
REFUSED = re.compile(
    r"elements of type (STRING|U?INT[24]|FLOAT[48]\w+)|which is a (sequence|optional)_type|"
    r"\b(Scan|LinearAttention|Loop|If whose condition is not constant)|\b(Quantize|Dequantize|DynamicQuantize)Linear|"
    r"QLinear|\w+Integer|ai\.onnx\.|\b(Sequence|Optional|String)\w+|ImageDecoder|TfIdfVectorizer|RegexFullMatch"
)
DRAWN = re.compile("bernoulli|random_uniform")  # whose outputs are other numbers each time
SPATIAL = (
    "Conv", "ConvTranspose", "DeformConv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxUnpool",
    "Resize", "GridSample", "Col2Im", "Gemm", "BatchNormalization",
)  # fmt: skip


def check(folder, network) -> None:
    """Fail unless the network gives a case's outputs; the tolerances are onnx's."""
    for inputs, expected in onnx_vectors.data_sets(folder):
        results = network(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        assert len(results) == len(expected), folder.name
        for got, wanted in zip(results, expected, strict=True):
            assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape), folder.name
            if not DRAWN.search(folder.name):
                wide = np.float64 if wanted.dtype.kind in "fV" else wanted.dtype
                got, wanted = got.astype(wide), wanted.astype(wide)
                np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-7, err_msg=folder.name)


def run(folder) -> str | None:
    """Check a case; why it is refused, or None."""
    try:
        network = onnx_backend.load(folder / "model.onnx")
    except onnx_backend.UnsupportedError as error:
        return str(error)
    check(folder, network)
    return None


def assert_all(folders) -> int:
    """How many are refused; each for a reason that is known."""
    reasons = {folder.name: run(folder) for folder in folders}
    unknown = {name: why for name, why in reasons.items() if why and not REFUSED.search(why)}
    assert not unknown
    return sum(why is not None for why in reasons.values())


@pytest.mark.parametrize("operator", SPATIAL)
def test_every_case_of_an_operator_on_images(operator):
    names = onnx_vectors.names(operator)
    assert names and assert_all(onnx_vectors.NODES / name for name in names) == 0


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_every_case(kind):
    folders = onnx_vectors.folders(kind)
    assert len(folders) == KINDS[kind]
    assert assert_all(folders) == {"node": 330, "simple": 16}.get(kind, 0)


def test_the_fallback_says_that_it_runs_the_model():
    folder = onnx_vectors.NODES / "test_quantizelinear"
    with pytest.raises(onnx_backend.UnsupportedError, match="QuantizeLinear"):
        onnx_backend.load(folder / "model.onnx")
    with pytest.warns(UserWarning, match="reference evaluator .* QuantizeLinear"):
        network = onnx_backend.load(folder / "model.onnx", fallback=True)
    assert "QuantizeLinear" in network.reason
    check(folder, network)
    one = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 22]> m (float x) => (float y) {y = Neg(x)}')
    with pytest.raises(TypeError, match="the model takes 1 input, x; got 2"):
        onnx_backend.Reference(one, "asked for")(1, 2)


@pytest.mark.thorough
def test_the_fallback_runs_what_is_refused():
    """Every fifth case is tried."""
    models = [onnx.load(folder / "model.onnx") for folder in onnx_vectors.folders("node")[::5]]
    refused = [model for model in models if not onnx_backend.is_compatible(model)]
    assert len(refused) > 50
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in refused:
            assert onnx_backend.load(model, fallback=True).reason
