"""What holds for every optimizer: formulas, memory, threads, saving and resuming."""

import io

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import convkit
from cases import FUSED
from convkit import nn, optim
from convkit.optim import schedules
from stepping import bits, give, parameters, run

KINDS = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True, weight_decay=0.01),
    "classic": lambda p: optim.SGD(p, 0.1, 0.9, form="classic", decoupled_weight_decay=0.01),
    "ewma": lambda p: optim.SGD(p, 0.1, 0.9, form="ewma"),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01),
    "rmsprop_momentum": lambda p: optim.RMSprop(p, 0.01, momentum=0.9),
    "adam": lambda p: optim.Adam(p, 0.01, weight_decay=0.01),
    "adamw": lambda p: optim.AdamW(p, 0.01),
}
EVERY = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def test_adam_by_hand():
    """The first step is lr whatever the gradient's size; the second mixes the first in."""
    w = nn.Parameter(np.array([1.0]))
    optimizer = optim.Adam([w], 0.1, (0.5, 0.75), 0.0)
    w.grad = np.array([4.0])
    optimizer.step()
    np.testing.assert_allclose(w.data, [0.9], rtol=1e-14)
    w.grad = np.array([0.0])
    optimizer.step()  # m = 1 of weight 3/4, s = 3 of weight 7/16
    np.testing.assert_allclose(w.data, [0.9 - 0.1 * (4 / 3) / np.sqrt(48 / 7)], rtol=1e-14)


def test_rmsprop_by_hand():
    w = nn.Parameter(np.array([1.0]))
    optimizer = optim.RMSprop([w], 0.1, 0.75, 0.5)
    w.grad = np.array([4.0])
    optimizer.step()
    np.testing.assert_allclose(w.data, [1 - 0.1 * 4 / 2.5], rtol=1e-14)


@EVERY
def test_every_instruction_set_computes_the_same_formula(make, isa):
    got, expected = parameters("float32"), parameters("float64")
    for one, other in zip(got, expected, strict=True):
        other.data[...] = one.data
    run(make(got), range(3))
    before = convkit.isa()
    convkit.set_isa("generic")
    optimizer = make(expected)
    for step in range(3):
        give(got, step)
        for one, other in zip(got, expected, strict=True):
            other.grad = one.grad.astype(np.float64)
        optimizer.step()
    convkit.set_isa(before)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one.data, other.data, rtol=1e-5, atol=1e-6)


# Every coefficient a power of two: no product with one is rounded, so it does not matter whether any is fused.
POWERS = {
    "momentum": lambda p: optim.SGD(p, 2**-3, 0.5, nesterov=True, weight_decay=2**-6),
    "classic": lambda p: optim.SGD(p, 2**-3, 0.5, form="classic"),
    "ewma": lambda p: optim.SGD(p, 2**-3, 0.5, form="ewma"),
    "rmsprop": lambda p: optim.RMSprop(p, 2**-5, 0.5, 0.0),
    "rmsprop_momentum": lambda p: optim.RMSprop(p, 2**-5, 0.5, 0.0, momentum=0.5),
    "adam": lambda p: optim.Adam(p, 2**-5, (0.5, 0.5), 0.0),
}


@pytest.mark.parametrize(
    ("make", "isas"),
    [(make, convkit.available_isas()) for make in POWERS.values()] + [(make, FUSED) for make in KINDS.values()],
    ids=[f"{name}_by_powers" for name in POWERS] + list(KINDS),
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_instruction_sets_agree_to_the_bit(make, isas, dtype, any_isa):
    expected = None
    for name in isas:
        convkit.set_isa(name)
        ps = parameters(dtype, ((1003,), (7,)))
        optimizer = make(ps)
        for step in range(3):
            give(ps, step)
            for parameter in ps:  # short enough that its square is not rounded either, and not 0
                parameter.grad = np.round(parameter.grad * 256) / 256 + np.asarray(2**-10, dtype)
            optimizer.step()
        expected = expected or bits(ps)
        assert bits(ps) == expected, f"{name} and {isas[0]}"


@EVERY
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.thorough)])
def test_bits_do_not_depend_on_threads_or_place(make, dtype):
    """One parameter of several pieces; and its parts as parameters of their own, at odd places."""
    cuts = [0, 1, 37, 65536, 131080, 200003]
    results = []
    for threads in (1, 4):
        (whole,) = parameters(dtype, ((cuts[-1],),))
        with convkit.threads(threads):
            run(make([whole]), range(2))
        results.append(whole.data)
    (whole,) = parameters(dtype, ((cuts[-1],),))
    parts = [nn.Parameter(whole.data[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
    optimizer = make(parts)
    for step in range(2):
        give([whole], step)
        for part, a, b in zip(parts, cuts, cuts[1:], strict=False):
            part.grad = whole.grad[a:b]
        optimizer.step()
    assert results[0].tobytes() == results[1].tobytes() == whole.data.tobytes()


@EVERY
def test_views_of_any_strides(make):
    plain, fortran, backwards = (parameters("float32", ((4, 6),))[0] for _ in range(3))
    store = np.asfortranarray(plain.data)
    fortran.data = store
    backwards.data = plain.data[::-1, ::-1].copy()[::-1, ::-1]
    for parameter in (plain, fortran, backwards):
        optimizer = make([parameter])
        for step in range(2):
            give([parameter], step)
            parameter.grad = np.asfortranarray(parameter.grad)
            optimizer.step()
    assert fortran.data is store
    assert bits([plain]) == bits([fortran]) == bits([backwards])


@EVERY
def test_gradients_stay_and_no_array_is_made_anew(make):
    (w,) = parameters(shapes=((4, 3),))
    optimizer, data = make([w]), w.data
    run(optimizer, range(1))
    memory = {name: optimizer.state[0][name] for name in optimizer.arrays if name in optimizer.state[0]}
    grad, before = w.grad, w.grad.copy()
    optimizer.step()
    assert w.data is data and w.grad is grad
    np.testing.assert_array_equal(grad, before)
    assert all(optimizer.state[0][name] is array for name, array in memory.items())


def test_a_gradient_that_does_not_fit():
    ps = parameters(shapes=((5,), (4, 3)))
    before = bits(ps)
    give(ps, 0)
    ps[1].grad = np.ones(12, np.float32)
    with pytest.raises(ValueError, match=r"grad must have the shape of its parameter, \(4, 3\), got \(12,\)"):
        optim.SGD(ps, 0.1).step()
    assert bits(ps) == before  # the first one too


def test_a_parameter_whose_array_was_exchanged():
    (w,) = parameters(shapes=((4, 3),))
    optimizer = optim.Adam([w])
    run(optimizer, range(1))
    w.data = np.ones((5, 3), np.float32)
    give([w], 1)
    with pytest.raises(ValueError, match=r"mean must have the shape of its parameter, \(5, 3\), got \(4, 3\)"):
        optimizer.step()
    w.data = np.ones((4, 3))
    give([w], 1)
    with pytest.raises(TypeError, match="mean must have the dtype of its parameter, float64, got float32"):
        optimizer.step()


# ---------------------------------------------------------------- saving and resuming


def through_npz(state, tmp_path):
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    return dict(np.load(file, allow_pickle=False))


def through_safetensors(state, tmp_path):
    save_file(state, tmp_path / "state.safetensors")
    return load_file(tmp_path / "state.safetensors")


@EVERY
@pytest.mark.parametrize("carry", [through_npz, through_safetensors])
def test_resumed_is_uninterrupted_to_the_bit(make, carry, tmp_path):
    whole, first, second = (parameters(shapes=((4, 3), (5,), ())) for _ in range(3))
    run(make(whole), range(7))
    saved = make(first)
    run(saved, range(3))
    for parameter, data in zip(second, first, strict=True):
        parameter.data[...] = data.data
    resumed = make(second)
    resumed.load_state_dict(carry(saved.state_dict(), tmp_path))
    run(resumed, range(3, 7))
    assert bits(second) == bits(whole)


def test_everything_together_resumes_to_the_bit(tmp_path):
    """Optimizer, schedule, EMA and clipping: 4 + 5 steps are 9."""

    def start():
        model = nn.Sequential(nn.Linear(4, 8, rng=0), nn.ReLU(), nn.Linear(8, 2, rng=1))
        optimizer = optim.AdamW(model.parameters(), 0.05)
        schedule = schedules.Sequence([schedules.WarmUp(3), schedules.Cosine(6)], [3]).drive(optimizer)
        return model, optimizer, schedule, optim.EMA(model, 0.8)

    def train(parts, steps):
        model, optimizer, schedule, ema = parts
        for step in steps:
            x = np.random.default_rng(step).standard_normal((6, 4)).astype(np.float32)
            model.zero_grad()
            model.backward(nn.losses.softmax_cross_entropy(model(x), np.arange(6) % 2).grad)
            optim.clip_grad_norm(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            ema.update()

    whole, first, second = start(), start(), start()
    train(whole, range(9))
    train(first, range(4))
    for old, new in zip(first, second, strict=True):
        new.load_state_dict(through_npz(old.state_dict(), tmp_path))
    train(second, range(4, 9))
    for one, other in zip(whole, second, strict=True):
        state, again = one.state_dict(), other.state_dict()
        assert list(state) == list(again)
        assert all(np.asarray(state[name]).tobytes() == np.asarray(again[name]).tobytes() for name in state)


def test_what_is_loaded_is_copied():
    (w,) = parameters(shapes=((3,),))
    one, other = optim.SGD([w], 0.1, 0.9), optim.SGD([w], 0.1, 0.9)
    run(one, range(1))
    other.load_state_dict(one.state_dict())
    before = other.state_dict()["0.velocity"].copy()
    run(one, range(1))
    np.testing.assert_array_equal(other.state_dict()["0.velocity"], before)


def test_the_numbers_come_along():
    (w,) = parameters(shapes=((3,),))
    one, other = optim.Adam([w], 0.02, (0.8, 0.9), 1e-4, weight_decay=0.3), optim.Adam([w])
    other.load_state_dict(one.state_dict())
    assert (other.lr, other.beta1, other.beta2, other.eps, other.weight_decay) == (0.02, 0.8, 0.9, 1e-4, 0.3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("lr"), ValueError, r"missing: \['lr'\], unexpected: \[\]"),
        (lambda s: s.pop("0.mean"), ValueError, r"missing: \['0.mean'\]"),
        (lambda s: s.update({"2.mean": s["0.mean"]}), ValueError, r"unexpected: \['2.mean'\]"),
        (lambda s: s.update({"0.velocity": s["0.mean"]}), ValueError, r"unexpected: \['0.velocity'\]"),
        (
            lambda s: s.update({"0.mean": s["0.mean"].T}),
            ValueError,
            r"'0.mean'\] must have shape \(4, 3\), got \(3, 4\)",
        ),
        (lambda s: s.update({"0.mean": np.zeros((4, 3), int)}), TypeError, r"'0.mean'\] must be float32 or float64"),
        (lambda s: s.update({"0.steps": np.array(1.0)}), TypeError, r"'0.steps'\] must be an integer, got float64"),
        (lambda s: s.update({"0.steps": np.array(-1)}), ValueError, r"'0.steps'\] must be at least 0, got -1"),
        (lambda s: s.update({"lr": np.array([1.0])}), ValueError, r"'lr'\] must be one number, got shape \(1,\)"),
        (lambda s: s.update({"lr": np.array(np.nan)}), ValueError, "lr must be a number in"),
        (lambda s: s.update({"beta2": np.array(1.0)}), ValueError, r"beta2 must be a number in \[0, 1\)"),
        (lambda s: s.update({"lr": np.array("0.1")}), TypeError, r"'lr'\] must be a float"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, error, message):
    ps = parameters(shapes=((4, 3), (5,)))
    optimizer = optim.Adam(ps, 0.25)
    run(optimizer, range(2))
    state = {name: np.array(value) for name, value in optimizer.state_dict().items()}
    state["1.mean"] = state["1.mean"] + 1
    change(state)
    before = {name: value.tobytes() for name, value in optimizer.state_dict().items()}
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(state)
    assert {name: value.tobytes() for name, value in optimizer.state_dict().items()} == before


def test_momentum_of_another_form_is_refused():
    ps = parameters()
    one = optim.SGD(ps, 0.1, 0.9, form="classic")
    run(one, range(1))
    with pytest.raises(ValueError, match=r"missing: \['0.velocity'.*unexpected: \['0.displacement'"):
        optim.SGD(ps, 0.1, 0.9).load_state_dict(one.state_dict())
    with pytest.raises(TypeError, match="state must be a mapping of names to arrays, got list"):
        one.load_state_dict([])


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, 0.99, 0.999)])
def test_betas_are_two(betas):
    with pytest.raises(TypeError, match="betas must be two numbers"):
        optim.Adam(parameters(), betas=betas)


def test_all_parameters_at_once_move_as_each_alone():
    """Of two dtypes, many sizes about those of tasks, and one that is not contiguous."""
    rng = np.random.default_rng(0)
    sizes = (1, 3, 70000, 65536, 5, 65531, 2)
    starts = [rng.standard_normal(size).astype(("f4", "f8")[i % 2]) for i, size in enumerate(sizes)]
    grads = [rng.standard_normal(start.shape).astype(start.dtype) for start in starts]

    def moved(one_by_one):
        parameters = [nn.Parameter(start.copy()) for start in starts]
        parameters[2].data = np.repeat(starts[2], 2)[::2]
        optimizers = [optim.Adam([p], lr=0.1) for p in parameters] if one_by_one else [optim.Adam(parameters, lr=0.1)]
        for _ in range(2):
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = grad
            for optimizer in optimizers:
                optimizer.step()
        return [parameter.data for parameter in parameters]

    for a, b in zip(moved(False), moved(True), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_update_of_ones_own_is_asked_for_each_parameter():
    class Bounded(optim.SGD):
        def update(self, parameter, state):
            super().update(parameter, state)
            np.clip(parameter.data, -1, 1, out=parameter.data)

    parameters = [nn.Parameter(np.zeros(2, np.float32)) for _ in range(2)]
    for parameter, grad in zip(parameters, ([0.5, 3], [-3, 0]), strict=True):
        parameter.grad = np.array(grad, np.float32)
    Bounded(parameters, lr=1.0).step()
    assert [list(parameter.data) for parameter in parameters] == [[-0.5, -1], [1, 0]]
