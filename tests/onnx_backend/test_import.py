"""What a model means: old operator sets, functions, conditions, types, and what is refused."""

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from convkit import onnx_backend
from missing import hide


def model(text: str, version: int = 22) -> onnx.ModelProto:
    """A model in onnx's own notation."""
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : {version}, "own" : 1]>\n{text}')


def node(op: str, version: int, *arrays: np.ndarray, outputs: int = 1, shapes: bool = True, **attrs):
    """The outputs of one node of an older operator set."""
    names = [f"x{i}" for i in range(len(arrays))]
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape if shapes else None)
        for name, a in zip(names, arrays, strict=True)
    ]
    made = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attrs)
    results = [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)]
    proto = helper.make_model(helper.make_graph([made], "g", infos, results))
    proto.opset_import[0].version = version
    y = onnx_backend.load(proto)(*arrays)
    return y if outputs > 1 else (y,)


def assert_node(expected, *args, **options):
    for got, wanted in zip(node(*args, **options), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("op", "version", "arrays", "attrs", "expected"),
    [
        ("Squeeze", 1, [X[:1]], {"axes": [0]}, X[0]),
        ("Unsqueeze", 11, [X], {"axes": [0, 2]}, X[None, :, None]),
        ("ReduceSum", 11, [X], {"axes": [1], "keepdims": 0}, X.sum(1)),
        ("ReduceMean", 13, [X], {"axes": [-1]}, X.mean(-1, keepdims=True)),
        ("Clip", 6, [X], {"min": 2.0, "max": 9.0}, X.clip(2, 9)),
        ("Clip", 6, [X], {"max": 9.0}, X.clip(None, 9)),
        ("Pad", 2, [X[0]], {"pads": [1, 0, 0, 2], "value": 7.0}, np.pad(X[0], [(1, 0), (0, 2)], constant_values=7)),
        ("Pad", 1, [X[0]], {"paddings": [0, 1, 0, 1]}, np.pad(X[0], [(0, 0), (1, 1)])),
        ("Slice", 1, [X], {"starts": [1], "ends": [3], "axes": [2]}, X[..., 1:3]),
        ("Softmax", 11, [X], {}, (e := np.exp(X - X.max((1, 2), keepdims=True))) / e.sum((1, 2), keepdims=True)),
        ("Concat", 1, [X, X], {}, np.concatenate([X, X], 1)),
        ("Reshape", 1, [X], {"shape": [0, -1]}, X.reshape(2, 12)),
        ("Add", 6, [X, X[0, :, 0]], {"broadcast": 1, "axis": 1}, X + X[0, :, :1]),
        ("Mul", 6, [X, X[0, 1]], {"broadcast": 1}, X * X[0, 1]),
        ("PRelu", 6, [X - 12, X[0, :, 0]], {}, np.where(X > 12, X - 12, (X - 12) * X[0, :, :1])),
        ("Upsample", 7, [X[None]], {"scales": [1.0, 1.0, 2.0, 1.0]}, X[None].repeat(2, 2)),
        ("Upsample", 1, [X[None]], {"height_scale": 2.0, "width_scale": 1.0}, X[None].repeat(2, 2)),
        ("Cast", 1, [X], {"to": "INT32"}, X.astype(np.int32)),
        ("Sum", 6, [X, X, X], {}, 3 * X),
        ("Dropout", 6, [X], {"ratio": 0.9, "is_test": 1}, X),
    ],
)
def test_older_operator_sets(op, version, arrays, attrs, expected):
    assert_node([expected], op, version, *arrays, **attrs)


@pytest.mark.parametrize(
    "start, end, expected", [(-9, -9, [0]), (9, -9, [2, 1, 0]), (-9, 1, []), (0, 9, []), (-2, 0, [1])]
)
def test_slices_backwards_begin_within_the_axis(start, end, expected):
    x, given = np.arange(3.0), (np.int64([value]) for value in (start, end, 0, -1))
    assert_node([np.float64(expected)], "Slice", 17, x, *given)


def test_older_operators_of_several_outputs():
    assert_node([X[..., :1], X[..., 1:]], "Split", 2, X, outputs=2, axis=2, split=[1, 3])
    assert_node([X[..., :2], X[..., 2:]], "Split", 2, X, outputs=2, axis=2)
    assert_node([X[..., [3, 2]], np.int64([[[3, 2]] * 3] * 2)], "TopK", 1, X, outputs=2, k=2)
    assert_node([X, np.ones_like(X, bool)], "Dropout", 10, X, outputs=2)
    assert node("Dropout", 9, X, outputs=2)[1].dtype == np.float32


def test_batch_normalisation_of_older_sets():
    x, numbers = X[None, 1], np.float32([1, 2, 3])
    wanted = (x - numbers[:, None]) / np.sqrt(numbers[:, None] + 1e-5) * numbers[:, None] + numbers[:, None]
    assert_node([wanted], "BatchNormalization", 7, x, *(numbers,) * 4)
    with pytest.raises(onnx_backend.UnsupportedError, match="spatial=0"):
        node("BatchNormalization", 7, x, *(numbers,) * 4, spatial=0)


def test_roi_align_began_half_a_pixel_further():
    x, boxes, images = X[None, :1], np.float32([[0, 0, 2, 2]]), np.int64([0])
    (older,), (newer,) = (node("RoiAlign", version, x, boxes, images, sampling_ratio=1) for version in (10, 16))
    np.testing.assert_allclose([older.item(), newer.item()], [x[0, 0, 1, 1], x[0, 0, :2, :2].mean()])


def test_nearest_elements_of_tensorflow():
    x, none, scales = X[None, :1, :1], np.zeros(0, np.float32), np.float32([1, 1, 1, 1.5])
    options = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"}
    assert_node([x[..., [0, 1, 1, 2, 3, 3]]], "Resize", 11, x, none, scales, **options)
    with pytest.raises(onnx_backend.UnsupportedError, match="tf_half_pixel_for_nn"):
        node("Resize", 11, x, none, scales, **options | {"nearest_mode": "ceil"})


def test_old_broadcasting_needs_the_rank():
    with pytest.raises(onnx_backend.UnsupportedError, match=r"unknown rank"):
        node("Add", 6, X, X[0, :, 0], shapes=False, broadcast=1, axis=1)


def test_functions_are_put_in_place_of_their_calls():
    proto = model(
        """top (float[n] x) => (float[n] y, float[n] z) {
            y = own.scaled <by = 3.0> (x)
            z = own.scaled (y)
        }
        <domain: "own", opset_import: ["" : 22]>
        scaled <by: float = 2.0> (a) => (b) {
            f = Constant <value_float: float = @by> ()
            b = Mul(a, f)
        }"""
    )
    y, z = onnx_backend.load(proto)(np.float32([1, 2]))
    np.testing.assert_array_equal(y, [3, 6])
    np.testing.assert_array_equal(z, [6, 12])


def test_functions_may_not_nest_without_end():
    proto = model(
        """top (float[n] x) => (float[n] y) { y = own.again(x) }
        <domain: "own", opset_import: ["own" : 1]> again (a) => (b) { b = own.again(a) }"""
    )
    with pytest.raises(ValueError, match="nested more than 50 deep"):
        onnx_backend.load(proto)


@pytest.mark.parametrize(("rank", "expected"), [(2, 2.0), (3, -2.0)])
def test_a_branch_that_declared_sizes_choose(rank, expected):
    sizes = ", ".join("3" * rank)
    proto = model(
        f"""top (float[{sizes}] x) => (float y) {{
            shape = Shape(x)
            rank = Size(shape)
            two = Constant <value_int = 2> ()
            flat = Equal(rank, two)
            y = If (flat) <
                then_branch = a () => (float p) {{ p = Constant <value_float = 2.0> () }},
                else_branch = b () => (float q) {{ m = Constant <value_float = 2.0> () q = Neg(m) }}
            >
        }}"""
    )
    assert onnx_backend.load(proto)(np.zeros((3,) * rank, np.float32)) == expected


@pytest.mark.parametrize(("channels", "shape"), [(1, (2, 3)), (2, (2, 2, 3))])
def test_a_branch_that_sizes_between_nodes_choose(channels, shape):
    """As an exporter writes squeeze(1) of what it knows no shape of."""
    proto = model(
        f"""top (float[2, {channels}, 6] x) => (float y) <int64[1] one = {{1}}, int64 first = {{1}}> {{
            pooled = MaxPool <kernel_shape = [2], strides = [2]> (x)
            sizes = Shape(pooled)
            size = Gather(sizes, first)
            alone = Equal(size, one)
            y = If (alone) <
                then_branch = a () => (float p) {{ p = Squeeze(pooled, one) }},
                else_branch = b () => (float q) {{ q = Identity(pooled) }}
            >
        }}"""
    )
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    x = np.ones((2, channels, 6), np.float32)
    assert onnx_backend.load(proto)(x).shape == shape
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "c"
    with pytest.raises(onnx_backend.UnsupportedError, match="If whose condition"):
        onnx_backend.load(proto)


def test_an_operator_without_a_row_is_what_onnx_makes_it_of():
    proto = model("top (int64 n) => (float[m] y) { y = HannWindow(n) }")
    wanted = np.sin(np.pi * np.arange(5) / 5) ** 2
    np.testing.assert_allclose(onnx_backend.load(proto)(np.int64(5)), wanted, atol=1e-7)


# ---------------------------------------------------------------- edges of operators


@pytest.mark.parametrize(
    ("op", "x", "attrs", "expected"),
    [
        ("Erf", np.float32(0.5), {}, np.float32(math.erf(0.5))),
        ("Gelu", np.float32(-1), {}, np.float32(-(1 + math.erf(-(0.5**0.5))) / 2)),
        ("Hardmax", np.zeros((2, 0), np.float32), {}, np.zeros((2, 0), np.float32)),
        ("ReduceLogSumExp", np.int32([[0, 0]]), {"keepdims": 0}, np.int32(0)),
        ("ReduceLogSumExp", np.int64([3]), {}, np.int64([3])),
        ("LpPool", X[:1, :1, :3], {"kernel_shape": [5], "pads": [1, 1], "p": 1}, np.float32([[[3]]])),
        ("LpPool", X[:1, :1, :3], {"kernel_shape": [4], "auto_pad": "SAME_LOWER", "p": 1}, np.float32([[[1, 3, 3]]])),
        ("Einsum", np.zeros((0, 2), np.float32), {"equation": "ij->ji"}, np.zeros((2, 0), np.float32)),
    ],
)
def test_edges(op, x, attrs, expected):
    (y,) = node(op, 22, x, **attrs)
    assert (y.dtype, y.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize("sizes_known", (True, False))
@pytest.mark.parametrize("mode", ("nearest", "linear", "cubic"))
def test_an_image_may_be_resized_to_nothing(mode, sizes_known):
    x, scales = np.ones((1, 1, 2, 3), np.float32), np.float32([1, 1, 0.3, 2])
    if sizes_known:
        proto = model(
            f"""top (float[n, c, h, w] x) => (float[a, b, d, e] y) <float[4] s = {{1, 1, 0.3, 2}}> {{
                y = Resize <mode = "{mode}"> (x, , s)
            }}"""
        )
        y = onnx_backend.load(proto)(x)
    else:
        made = helper.make_node("Resize", ["x", "", "s"], ["y"], mode=mode)
        (y,) = onnx_backend.run_node(made, [x, scales])
    assert y.shape == (1, 1, 0, 6)


@pytest.mark.parametrize(
    ("op", "weights", "attrs"),
    [("Conv", 1, {}), ("ConvTranspose", 1, {}), ("MaxPool", 0, {"kernel_shape": [2] * 4}), ("GlobalMaxPool", 0, {})],
)
def test_four_spatial_axes_are_refused(op, weights, attrs):
    arrays = [np.ones((1, 1, 3, 3, 3, 3), np.float32), np.ones((1, 1, 2, 2, 2, 2), np.float32)]
    with pytest.raises(ValueError, match="x must have 1, 2 or 3 spatial axes"):
        node(op, 18, *arrays[: 1 + weights], **attrs)


def test_images_without_channels_may_be_normalised():
    x, none = np.ones((2, 0, 3), np.float32), np.ones(0, np.float32)
    assert_node([x], "InstanceNormalization", 22, x, none, none)


def test_what_is_added_to_a_transposed_convolution_of_the_same_size_is_cropped():
    x, w = X[:1, :1, :3], np.float32([[[1, 2, 4]]])
    (named,) = node("ConvTranspose", 11, x, w, strides=[2], output_padding=[1], auto_pad="SAME_UPPER")
    (given,) = node("ConvTranspose", 11, x, w, strides=[2], output_padding=[1], pads=[1, 1])
    assert named.shape == (1, 1, 6)
    np.testing.assert_array_equal(named, given)


def test_a_bound_may_be_a_vector_of_one():
    """As some exporters write it."""
    proto = model("top (float[n] x) => (float[n] y) <float[1] lo = {2.0}, float[1] hi = {9.0}> { y = Clip(x, lo, hi) }")
    np.testing.assert_array_equal(onnx_backend.load(proto)(X[0, 0]), X[0, 0].clip(2, 9))


# ---------------------------------------------------------------- types


def test_constants_are_computed_as_onnx_has_it():
    """Where all is known, too, integers stay integers."""
    proto = model(
        """top () => (int32 y, int32 z) <int32 a = {-7}, int32 b = {2}, float c = {2.0}> {
            y = Div(a, b) z = Pow(a, c)
        }"""
    )
    y, z = onnx_backend.load(proto)()
    assert (y, y.dtype, z, z.dtype) == (-3, np.int32, 49, np.int32)


def test_integers_have_activations_and_bounds():
    """Behind a sum, too, into which those of floating point are fused."""
    proto = model(
        """top (int64[a, b] x) => (int64[a, b] relu, int64[a, b] clip, int64[a, b] same, int64[2] sizes)
        <int64 lo = {-9007199254740993}, int64 hi = {2}> {
            relu_of = Add(x, x) relu = Relu(relu_of)
            clip_of = Mul(x, x) clip = Clip(clip_of, lo, hi)
            same_of = Sub(x, lo) same = Clip(same_of, lo)
            shape = Shape(x) more = Add(shape, shape) sizes = Clip(more, , hi)
        }"""
    )
    x = np.int64([[-3, 1, 2**61]])
    relu, clip, same, sizes = onnx_backend.load(proto)(x)
    np.testing.assert_array_equal(relu, [[0, 2, 2**62]])
    np.testing.assert_array_equal(clip, [[2, 1, 0]])
    np.testing.assert_array_equal(same, x + 9007199254740993)
    np.testing.assert_array_equal(sizes, [2, 2])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y = Add(x, n)", "node Add 'y' must have an input B of tensor.float., got tensor.int64."),
        (
            "a = Not(n) y = Cast <to = 1> (a)",
            r"node Not 'a' must have an input X of tensor\(bool\), got tensor\(int64\)",
        ),
        ("y = Shape(x)", "output 'y' is declared to be FLOAT, and is INT64"),
        ("y = Cast <to = 11> (x)", "output 'y' is declared to be FLOAT, and is DOUBLE"),
        ("y = own.sum(x, n)", "node Add 'b'"),
        ("y = AveragePool <kernel_shape = [1], dilations = [1]> (x)", "dilations, which operator set 18 does not know"),
    ],
)
def test_types_are_those_of_the_definitions(body, message):
    """Kernels read what they are told, whatever it is."""
    proto = model(
        f"""top (float[a, b, c] x, int64[a] n) => (float[d, e, f] y) {{ {body} }}
        <domain: "own", opset_import: ["" : 18]> sum (a, c) => (b) {{ b = Add(a, c) }}""",
        18,
    )
    with pytest.raises(ValueError, match=message):
        onnx_backend.load(proto)


@pytest.mark.parametrize("body", ["y = Neg(x)", "i = NonZero(x) j = Squeeze(i) y = Gather(x, j)"])
def test_outputs_have_the_sizes_that_are_declared(body):
    """Whether all is planned or not."""
    network = onnx_backend.load(model(f"top (float[n] x) => (float[2] y) {{ {body} }}"))
    np.testing.assert_array_equal(abs(network(np.float32([1, 2]))), [1, 2])
    with pytest.raises(ValueError, match=r"output y is declared to have shape \(2\), and has \(3,\)"):
        network(np.float32([1, 2, 3]))


@pytest.mark.parametrize("number", (TensorProto.FLOAT16, TensorProto.BFLOAT16))
def test_halves_are_computed_in_float32_and_given_back(number):
    dtype = helper.tensor_dtype_to_np_dtype(number)
    weight = numpy_helper.from_array(np.full((2, 2, 1), 0.5, dtype), "w")
    info = [helper.make_tensor_value_info(name, number, [1, 2, 3]) for name in "xy"]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    network = onnx_backend.load(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], [weight])))
    x = np.arange(6).reshape(1, 2, 3).astype(dtype)
    y = network(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.astype(np.float32), np.full((1, 2, 1), 0.5) * x.astype(np.float32).sum(1))
    with pytest.raises(TypeError, match=f"x must have dtype {dtype}, got float32"):
        network(x.astype(np.float32))


@pytest.mark.parametrize("kind", ["raw", "listed"])
@pytest.mark.parametrize("dtype", ("f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"))
def test_tensors_of_every_type(dtype, kind):
    array = np.array([[0, 1], [2, 100]]).astype(dtype)
    number = helper.np_dtype_to_tensor_dtype(array.dtype)
    if kind == "raw":
        tensor = numpy_helper.from_array(array, "t")
    else:
        tensor = helper.make_tensor("t", number, array.shape, array.reshape(-1).tolist())
    output = helper.make_tensor_value_info("t", number, [2, 2])
    y = onnx_backend.load(helper.make_model(helper.make_graph([], "g", [], [output], [tensor])))()
    assert y.dtype == array.dtype
    np.testing.assert_array_equal(y, array)


def test_all_that_is_missing_is_named_at_once():
    proto = model(
        """top (string[2] s, float[2] x) => (uint8[2] y, float[2] z) <float scale = {1}, uint8 zero = {0}> {
            y = QuantizeLinear(x, scale, zero)
            a = DequantizeLinear(y, scale, zero)
            b = own.unheard(a)
            z = DequantizeLinear(y, scale, zero)
        }"""
    )
    assert not onnx_backend.is_compatible(proto)
    with pytest.raises(onnx_backend.UnsupportedError) as caught:
        onnx_backend.load(proto)
    for name in ("input 's', elements of type STRING", "QuantizeLinear", "DequantizeLinear (2 times)", "own.unheard"):
        assert name in str(caught.value)


# ---------------------------------------------------------------- calls


def test_inputs_are_checked_and_may_be_named():
    network = onnx_backend.load(model("top (float[n, 3] a, int64[2] b) => (float[n, 3] c) { c = Identity(a) }"))
    a, b = np.ones((5, 3), np.float32), np.int64([1, 2])
    assert network(b=b, a=a).shape == (5, 3)
    with pytest.raises(ValueError, match=r"a must have shape \(any, 3\), got \(5, 4\)"):
        network(np.ones((5, 4), np.float32), b)
    with pytest.raises(TypeError, match="b must have dtype int64, got int32"):
        network(a, b.astype(np.int32))


def test_shapes_that_follow_from_numbers():
    network = onnx_backend.load(
        model("top (float[n] x) => (float[m] y) { i = NonZero(x) j = Squeeze(i) y = Gather(x, j) }")
    )
    np.testing.assert_array_equal(network(np.float32([0, 2, 0, 3])), [2, 3])
    np.testing.assert_array_equal(network(np.float32([1, 2, 3, 0])), [1, 2, 3])


def test_the_backend_interface():
    proto = model("top (float[2] x) => (float[2] y, float[2] z) { y = Neg(x) z = Abs(x) }")
    x = np.float32([1, -2])
    for inputs in (x, [x], {"x": x}):
        y, z = onnx_backend.prepare(proto, "CPU").run(inputs)
        np.testing.assert_array_equal([y, z], [-x, abs(x)])
    for dtype in (np.float32, np.float16):
        (y,) = onnx_backend.run_node(helper.make_node("Pow", ["x", "x"], ["y"]), [dtype([2, 3])])
        np.testing.assert_array_equal(y, dtype([4, 27]), strict=True)
    assert onnx_backend.supports_device("CPU") and not onnx_backend.supports_device("CUDA:1")
    for device in ("CUDA", None):
        with pytest.raises(ValueError, match=f"device must be 'CPU', got {device!r}"):
            onnx_backend.prepare(proto, device)


def test_without_onnx_the_error_names_the_extra(monkeypatch):
    hide(monkeypatch, "onnx")
    with pytest.raises(ImportError, match=r"\[onnx\]"):
        onnx_backend.load(b"")
