"""Parameter groups: each steps as an optimizer of its own would, under one schedule, in one state."""

import copy
import pickle

import numpy as np
import pytest

import small_training
from convkit import nn, optim, train
from convkit.optim import schedules
from stepping import bits, give, parameters

OWN = {  # an optimizer's arguments, and what its second group has of its own
    "SGD": ({"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}, {"momentum": 0.0, "weight_decay": 0.0}),
    "RMSprop": ({"lr": 0.1, "weight_decay": 0.01}, {"momentum": 0.5, "alpha": 0.5}),
    "Adam": ({"lr": 0.1, "weight_decay": 0.01}, {"betas": (0.5, 0.75), "weight_decay": 0.0}),
    "AdamW": ({"lr": 0.1}, {"eps": 0.25, "weight_decay": 0.5}),
}
every = pytest.mark.parametrize("name", OWN)


def grouped(name, some, **more):
    """An optimizer of two groups; the second one's rate is twice the first one's."""
    common, own = OWN[name]
    return getattr(optim, name)([{"params": some[:2]}, {"params": some[2:], "lr": 0.2, **own, **more}], **common)


@every
def test_each_steps_as_an_optimizer_of_its_own(name):
    together, apart = parameters(), parameters()
    common, own = OWN[name]
    kind = getattr(optim, name)
    one, two = kind(apart[:2], **common), kind(apart[2:], **common | own | {"lr": 0.2})
    both = grouped(name, together)
    schedule = schedules.Exponential(0.5).drive(both)
    for step in range(4):
        for chosen in (together, apart):
            give(chosen, step)
        for optimizer in (both, one, two):
            optimizer.step()
        assert bits(together) == bits(apart)
        schedule.step()
        one.lr, two.lr = one.lr / 2, two.lr / 2
    both.groups[1].weight_decay = two.weight_decay = 0.125
    give(together, 4), give(apart, 4)
    both.step(), one.step(), two.step()
    assert bits(together) == bits(apart)


@every
@pytest.mark.parametrize("way", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value)), None])
def test_the_state_resumes_to_the_bit(name, way):
    whole, part = grouped(name, parameters()), grouped(name, parameters(), weight_decay=0.75)
    whole.groups[1].weight_decay = part.groups[1].weight_decay = 0.25
    for step in range(3):
        for optimizer in (whole, part):
            give(optimizer.parameters, step)
            optimizer.step()
    if way is None:
        fresh = grouped(name, part.parameters, weight_decay=0.75)
        assert "groups.1.lr_scale" in part.state_dict()
        fresh.load_state_dict(part.state_dict())
        assert fresh.groups[1].numbers == part.groups[1].numbers
    else:
        fresh = way(part)
    for optimizer in (whole, fresh):
        give(optimizer.parameters, 3)
        optimizer.step()
    assert bits(whole.parameters) == bits(fresh.parameters)
    before = fresh.state_dict()
    with pytest.raises(ValueError, match=r"missing: \['groups.1.lr_scale"):
        fresh.load_state_dict({key: value for key, value in before.items() if not key.startswith("groups.1.lr_scale")})
    np.testing.assert_equal(fresh.state_dict(), before)


def test_what_decay_spares():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, rng=0), nn.BatchNorm2d(4), nn.PReLU(4), nn.GroupNorm(2, 4), nn.Flatten(),
        nn.LayerNorm((2, 18)), nn.Linear(36, 3, rng=0),
    )  # fmt: skip
    decayed, spared = optim.decay_groups(model)
    assert [parameter.shape for parameter in decayed["params"]] == [(4, 1, 3, 3), (3, 36)]
    assert len(spared["params"]) == 9 and spared["weight_decay"] == 0.0
    optimizer = optim.SGD(optim.decay_groups(model, "decoupled_weight_decay"), 0.5, decoupled_weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = np.zeros_like(parameter.data)
    before = [parameter.data.copy() for parameter in optimizer.parameters]
    optimizer.step()
    for i, (parameter, start) in enumerate(zip(optimizer.parameters, before, strict=True)):
        np.testing.assert_array_equal(parameter.data, 0.75 * start if i < 2 else start)


@pytest.mark.thorough
def test_a_trainer_with_groups_resumes_to_the_bit(tmp_path):
    def built():
        trained = small_training.trainer()
        groups = optim.decay_groups(trained.model)
        groups[1]["lr"] = 0.3
        trained.optimizer = optim.SGD(groups, 0.1, 0.9, weight_decay=0.01)
        trained.schedule.drive(trained.optimizer)
        return trained

    whole, first, second = built(), built(), built()
    small_training.fit(whole, 3)
    small_training.fit(first, 1)
    first.save(tmp_path / "one")
    second.load(tmp_path / "one")
    small_training.fit(second, 3)
    assert bits(whole.optimizer.parameters) == bits(second.optimizer.parameters)
    assert isinstance(second, train.Trainer) and second.optimizer.lr < 0.1


W, V = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2))


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([{"params": [W]}, V], TypeError, "parameters must be Parameters, or dicts with 'params', got Parameter"),
        ([{"weight_decay": 0}], TypeError, "or dicts with 'params', got {'weight_decay': 0}"),
        ([{"params": [W], "decay": 0}], ValueError, "a group must have some of params, lr, momentum, .* got decay"),
        ([{"params": [W], "momentum": 1}], ValueError, r"momentum must be a number in \[0, 1\), got 1"),
        ([{"params": [W], "lr": -1}], ValueError, r"lr must be a number in \[0, inf\), got -1"),
        (
            [{"params": [W, V]}, {"params": V}],
            ValueError,
            "parameters must each be in one group, got one that is in two",
        ),
        ([{"params": []}], ValueError, "parameters must be at least one, got none"),
        ([{"params": [1.0]}], TypeError, "parameters must be Parameters, got a float"),
    ],
)
def test_refused(groups, error, message):
    with pytest.raises(error, match=message):
        optim.SGD(groups, 0.1)


def test_a_rate_of_its_own_needs_one_to_be_measured_by_and_groups_are_fixed():
    with pytest.raises(ValueError, match="lr must be above 0 where a group has its own, got 0"):
        optim.SGD([{"params": [W], "lr": 0.1}], 0)
    optimizer = optim.SGD([{"params": [W], "lr": 0.2}], 0.1)
    assert optimizer.groups[0].lr_scale == 2
    with pytest.raises(AttributeError, match="groups of SGD is read-only"):
        optimizer.groups = []
    with pytest.raises(ValueError, match=r"lr_scale must be a number in \[0, inf\), got -1"):
        optimizer.groups[0].lr_scale = -1
    with pytest.raises(AttributeError, match="a group's numbers must be some of momentum, .*, lr_scale, got lr"):
        optimizer.groups[0].lr = 0.1
    with pytest.raises(TypeError, match="model must be a Module, got list"):
        optim.decay_groups([])
