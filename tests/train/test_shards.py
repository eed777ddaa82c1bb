"""Batches that are shards: what a step is, and the same bits on any number of ranks, which here are threads."""

import itertools
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

import convkit
from convkit import data, distributed, nn, optim, train
from convkit.nn.losses import Loss, l2_penalty, softmax_cross_entropy
from convkit.train import checkpoint
from missing import hide
from ranks_here import Ended, on_ranks
from small_training import BATCH, N, fit, network, samples, trainer


def state(trained):
    """All that the next steps depend on, in a word."""
    return checkpoint.digest(trained.state_dict())


def linear(rng=0):
    return nn.Sequential(nn.Flatten(), nn.Linear(25, 3, rng=np.random.default_rng(rng)))


# ---------------------------------------------------------------- the tree


def test_cuts_differ_by_one_at_most():
    for samples_, shards in ((0, 3), (1, 4), (2, 4), (5, 3), (8, 4), (9, 1)):
        sizes = [part.stop - part.start for part in distributed.split(samples_, shards)]
        assert len(sizes) == shards and sum(sizes) == samples_ and sizes == sorted(sizes, reverse=True)
        assert max(sizes) - min(sizes) <= 1
    for samples_, shards, message in (
        (-1, 3, "samples must be at least 0, got -1"),
        (3, 0, "shards must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            distributed.split(samples_, shards)


@pytest.mark.parametrize(("shards", "size"), [(1, 1), (2, 2), (4, 3), (6, 4), (8, 8), (13, 5)])
def test_one_tree_whoever_adds(shards, size):
    rng = np.random.default_rng(shards)
    parts = [[rng.standard_normal(n).astype(dtype) for n, dtype in ((23, "f4"), (3, "f8"))] for _ in range(shards)]

    def job(comm):
        ranks, seen = distributed.Ranks(shards, comm), []

        def leaf(shard, out, add):
            seen.append(shard)
            for array, part in zip(out, parts[shard], strict=True):
                array[:] = array + part if add else part

        for _ in range(2):  # the second time in memory that the first has left
            out = [np.full(23, np.nan, "f4"), np.full(3, np.nan)]
            ranks.sum(out, leaf)
        assert seen == [*ranks.mine, *ranks.mine]
        return [array.tobytes() for array in out], list(ranks.mine)

    def add(a, b):
        return [one + other for one, other in zip(a, b, strict=True)]

    expected = [array.tobytes() for array in distributed.Ranks(shards).fold(parts, add)]
    results = on_ranks(size, job)
    assert [total for total, _ in results] == [expected] * size
    assert sum((mine for _, mine in results), []) == list(range(shards))


def test_what_ranks_are_made_of():
    with pytest.raises(TypeError, match="shards must be an int, got 2.5"):
        distributed.Ranks(2.5)
    with pytest.raises(ValueError, match="shards must be at least 1, got 0"):
        trainer(shards=0)
    with pytest.raises(TypeError, match="comm must be an mpi4py communicator or None, got int"):
        trainer(shards=2, comm=7)
    with pytest.raises(ValueError, match="shards must be given with comm, for results follow from it, got None"):
        trainer(comm=object())
    with pytest.raises(ValueError, match="shards must be at least the number of ranks, 3, got 2"):
        on_ranks(3, lambda comm: trainer(shards=2, comm=comm))


def test_without_mpi(monkeypatch):
    assert not distributed.launched()
    monkeypatch.setenv("PMIX_RANK", "0")
    hide(monkeypatch, "mpi4py")
    assert distributed.launched()
    with pytest.raises(ImportError, match=r"mpi4py is not installed; it comes with the extra \[mpi\]"):
        distributed.world()


# ---------------------------------------------------------------- a step


def test_one_shard_is_the_whole_batch():
    ends = []
    for shards in (None, 1):
        model = network(np.random.default_rng(0), dropout=0)
        optimizer = optim.SGD(model.parameters(), 0.1, 0.9)
        trained = train.Trainer(
            model, optimizer, shards=shards, clip_norm=1, penalty=partial(l2_penalty, strength=1e-3)
        )
        history = fit(trained, 2, shuffle=False, validation=samples())
        ends.append((dict(history), checkpoint.digest(model.state_dict())))
    assert ends[0] == ends[1]


def test_it_is_the_loop_one_would_write():
    """Five samples as three shards: every number of the model after a step, by hand."""
    x, y = samples(5)
    model, mine = (network(np.random.default_rng(0), dropout=0) for _ in range(2))
    start = {name: array.copy() for name, array in model.state_dict().items()}
    grads, buffers = [], []
    for part in distributed.split(5, 3):
        model.load_state_dict(start)
        loss = softmax_cross_entropy(model(x[part]), y[part])
        model.zero_grad()
        model.backward(loss.grad * np.float32(len(y[part]) / 5))
        grads.append({name: parameter.grad for name, parameter in model.named_parameters()})
        buffers.append({name: buffer.data * (len(y[part]) / 5) for name, buffer in model.named_buffers()})
    trained = train.Trainer(mine, optim.SGD(mine.parameters(), 1.0), shards=3)
    trained.fit(x, y, epochs=1, batch_size=5, shuffle=False, progress=False)
    for name, parameter in mine.named_parameters():
        expected = start[name] - ((grads[0][name] + grads[1][name]) + grads[2][name])
        np.testing.assert_array_equal(parameter.data, expected, err_msg=name)
    for name, buffer in mine.named_buffers():
        mean = (buffers[0][name] + buffers[1][name]) + buffers[2][name]
        np.testing.assert_allclose(buffer.data, mean, rtol=1e-6, err_msg=name)


def step_of(loss, shards, y, x=None):
    """What a step of a linear model moves, and what it measures."""
    model = linear()
    before = model[1].weight.data.copy()
    trained = train.Trainer(model, optim.SGD(model.parameters(), 1.0), loss, shards=shards)
    history = trained.fit(samples(len(y))[0], y, epochs=1, batch_size=len(y), shuffle=False, progress=False)
    return model[1].weight.data - before, history


@pytest.mark.parametrize("shards", [2, 3, 8, 11])
@pytest.mark.parametrize(
    "loss",
    [
        softmax_cross_entropy,
        partial(softmax_cross_entropy, class_weights=np.array([1, 2, 5], np.float32)),
        partial(softmax_cross_entropy, ignore_index=-1),
        partial(softmax_cross_entropy, reduction="sum"),
        lambda scores, y: Loss(*softmax_cross_entropy(scores, y)),
    ],
    ids=["mean", "weighted", "ignored", "sum", "own"],
)
def test_a_shard_weighs_what_its_loss_divides_by(loss, shards):
    """So a step is that of the whole batch, to rounding: unequal shards, empty ones, one in which nothing counts."""
    y = samples(8)[1]
    if isinstance(loss, partial) and "ignore_index" in loss.keywords:
        y[:5] = -1
    moved, history = step_of(loss, None, y)
    sharded, of_shards = step_of(loss, shards, y)
    np.testing.assert_allclose(sharded, moved, rtol=1e-5, atol=1e-7)
    assert history == {name: pytest.approx(values, rel=1e-12) for name, values in of_shards.items()}


def test_nothing_counts_in_a_batch_and_nothing_moves():
    y = samples(8)[1]
    y[:4] = -1  # the first batch
    model = linear()
    before = model[1].weight.data.copy()
    loss = partial(softmax_cross_entropy, ignore_index=-1)
    rates = iter((1.0, 0.0))
    trained = train.Trainer(model, optim.SGD(model.parameters(), 1.0), loss, schedule=lambda t: next(rates), shards=3)
    trained.fit(samples(8)[0], y, epochs=1, batch_size=4, shuffle=False, progress=False)
    assert trained.step == 2
    np.testing.assert_array_equal(model[1].weight.data, before)


@pytest.mark.thorough
def test_generators_are_where_run_step_and_shard_put_them():
    def draws(seed, epochs):
        seen = []

        def transform(x, rng):
            seen.append(rng.integers(2**63))
            return x

        model = network(np.random.default_rng(0))
        trained = train.Trainer(model, optim.SGD(model.parameters(), 0.1), transform=transform, rng=seed, shards=4)
        places = checkpoint.generator_states(checkpoint.generators(trained.rng, model))
        fit(trained, epochs, shuffle=False)
        assert checkpoint.generator_states(checkpoint.generators(trained.rng, model)) == places
        return seen

    one = draws(1, 2)
    assert len(one) == len(set(one)) == 2 * (5 * 4 + 2)  # of the last two samples two shards are empty
    assert draws(1, 2) == one and not set(draws(2, 1)) & set(one)


class Odd(nn.Module):
    """Has all that a layer of one's own may: a mean, a count, a constant, a weight that not every batch uses."""

    def __init__(self):
        self.used, self.unused = (nn.Parameter(np.ones(1, np.float64)) for _ in range(2))
        self.mean = nn.module.Buffer(np.zeros(2, np.float32))
        self.count = nn.module.Buffer(np.array([2**60], np.uint64))
        self.mask = nn.module.Buffer(np.array([-np.inf, 0.1]))

    def run(self, x):
        if self.training:
            self.mean.data = np.array([x.mean(), len(x)], np.float32)
            self.count.data += np.uint64(len(x))

        def back(grad, need_input):
            if len(x) > 1:
                self.used.accumulate(np.ones(1))
            return grad

        return x, back


def test_layers_of_ones_own():
    x, y = samples(5)
    model = nn.Sequential(Odd(), *linear())
    optimizer = optim.SGD(model.parameters(), 1.0, weight_decay=0.5)
    trained = train.Trainer(model, optimizer, shards=3)
    trained.fit(x, y, epochs=1, batch_size=5, shuffle=False, progress=False)
    odd = model[0]
    assert odd.used.data == 1 - 0.5 - 2 and odd.unused.data == 1  # which has no gradient, and so no decay
    np.testing.assert_allclose(odd.mean.data, [x.mean(), (2 * 2 + 2 * 2 + 1) / 5], rtol=1e-6)
    assert odd.count.data == 2**60 + 2 and odd.mask.data.tolist() == [-np.inf, 0.1]


# ---------------------------------------------------------------- ranks


def sharded(comm=None, shards=5, epochs=2, **options):
    trained = trainer(shards=shards, comm=comm, **options)
    fit(trained, epochs, validation=samples())
    return trained


@pytest.mark.thorough
@pytest.mark.parametrize(("adam", "sizes"), [(False, (2, 5)), (True, (3,))])
def test_the_same_bits_on_any_number_of_ranks(adam, sizes):
    alone = sharded(adam=adam)
    expected = state(alone)
    for size in sizes:
        assert on_ranks(size, lambda comm: state(sharded(comm, adam=adam))) == [expected] * size
    with convkit.threads(3):
        assert state(sharded(adam=adam)) == expected
    assert alone.history["val_loss"][-1] == alone.evaluate(*samples())["loss"]
    assert state(sharded(shards=4, adam=adam)) != expected


def test_every_rank_reads_its_own_samples_alone():
    class Recording:
        def __init__(self):
            self.x, self.read = samples()[0], []

        def __len__(self):
            return N

        def __getitem__(self, chosen):
            self.read.extend(chosen)
            return self.x[chosen]

    def job(comm):
        x = Recording()
        trainer(shards=4, comm=comm).fit(x, samples()[1], epochs=1, batch_size=BATCH, progress=False)
        return x.read

    assert sorted(sum(on_ranks(3, job), [])) == list(range(N))
    ranks = distributed.Ranks(4)
    batches = list(data.minibatches(np.arange(6), np.arange(6), 4, shuffle=False, ranks=ranks))
    assert [(share.samples, [x.tolist() for x, _ in share.shards.values()]) for share in batches] == [
        (4, [[0], [1], [2], [3]]), (2, [[4], [5]])
    ]  # fmt: skip


@pytest.mark.thorough
def test_going_on_with_another_number_of_ranks(tmp_path, capsys):
    expected = state(sharded(epochs=3))

    def first(comm):
        trained = trainer(shards=5, comm=comm)
        schedule = trained.schedule
        trained.schedule = lambda t: 1 / 0 if t == 14 and comm.rank == 2 else schedule(t)  # in the third epoch
        with pytest.raises(Ended):
            fit(trained, 3, validation=samples(), checkpoint=tmp_path / f"{comm.rank}")

    def second(comm=None):
        trained = trainer(seed=7, shards=5, comm=comm)
        trained.load(tmp_path / "0")
        fit(trained, 3, validation=samples())
        return state(trained)

    on_ranks(4, first)
    err = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in err and "convkit: rank 2 of 4 failed, and ends all" in err
    assert [path.name for path in tmp_path.iterdir()] == ["0"]  # rank 0 alone has saved
    assert on_ranks(2, second) == [expected] * 2 and second() == expected
    for shards in (None, 4):
        with pytest.raises(ValueError, match=f"shards must be 5, as they were, got {shards}"):
            trainer(shards=shards).load(tmp_path / "0")
    with pytest.raises(ValueError, match="shards must be None, as they were, got 5"):
        trainer(shards=5).load_state_dict(trainer().state_dict())


@pytest.mark.thorough
def test_control_c_on_one_rank_stops_all_after_the_same_step(tmp_path, monkeypatch):
    @contextmanager
    def interrupting(wanted):
        asked = itertools.count(1)
        yield lambda: next(asked) >= 8 and threading.current_thread().name == "rank 1"

    monkeypatch.setattr("convkit.train.trainer.held_back", interrupting)

    def job(comm):
        trained = trainer(shards=4, comm=comm)
        with pytest.raises(KeyboardInterrupt, match="saved after step 7 to .*state"):  # it was asked after epoch 1, too
            fit(trained, checkpoint=tmp_path / "state")
        return trained.step

    assert on_ranks(2, job) == [7, 7]
    monkeypatch.undo()
    trained = trainer(shards=4)
    trained.load(tmp_path / "state")
    fit(trained)
    fit(whole := trainer(shards=4))
    assert state(trained) == state(whole)


DIFFERS = (
    "model",
    "layers",
    "generators",
    "samples",
    "instruction set",
    "clip_norm",
    "early_stopping",
    "validation samples",
)


@pytest.mark.parametrize("what", DIFFERS)
def test_the_rank_that_differs_is_named(what, monkeypatch, capsys):
    def isa():
        return "odd" if what == "instruction set" and threading.current_thread().name == "rank 2" else "usual"

    monkeypatch.setattr("convkit.machine.isa", isa)

    def job(comm):
        trained, cut, validation = trainer(shards=4, comm=comm), N, None
        if comm.rank == 2:
            trained.model[0].weight.data[0, 0, 0, 0] += what == "model"
            trained.model[3].p += 0.1 * (what == "layers")
            trained.rng.random(int(what == "generators"))
            cut -= what == "samples"
            trained.clip_norm = 1.0 if what == "clip_norm" else None
            trained.early_stopping.patience += what == "early_stopping"
            validation = samples(9) if what == "validation samples" else None
        with pytest.raises(Ended):
            trained.fit(*samples(cut), epochs=1, validation=validation, progress=False)
        return trained.step

    assert on_ranks(3, job) == [0, 0, 0]
    assert f"ValueError: rank 2 must have the {what} of rank 0, " in capsys.readouterr().err


def test_the_order_of_a_set_makes_no_difference():
    """As it differs from process to process, by the seed of their hashes."""
    orders = [{0, 8}, {8, 0}]
    assert repr(orders[0]) != repr(orders[1])

    def job(comm):
        unchanged = partial(lambda x, rng, classes: x, classes=orders[comm.rank])
        return fit(trainer(shards=4, comm=comm, transform=unchanged), epochs=1).epochs

    assert on_ranks(2, job) == [1, 1]


def test_a_rank_that_goes_its_own_way_is_named_after_the_epoch(capsys):
    def callback(trained):
        if trained.ranks.rank == 1:
            trained.optimizer.weight_decay *= 2

    def job(comm):
        trained = trainer(shards=4, comm=comm)
        with pytest.raises(Ended):
            fit(trained, callbacks=[callback])
        return trained.epoch

    assert on_ranks(2, job) == [1, 1]
    assert "ValueError: rank 1 must have the optimizer of rank 0, " in capsys.readouterr().err


# ---------------------------------------------------------------- what goes wrong


def test_what_is_not_finite_is_found_where_it_was_computed(capsys):
    """Its layer is named in whichever shard it was, on all ranks; dropout has dropped the same again."""
    x, y = samples()
    x[3] = 1e38  # in the second of four shards of the first batch

    def job(comm=None):
        trained = trainer(shards=4, transform=None, comm=comm)
        before = state(trained)
        with pytest.raises(Ended if comm else train.NonFiniteError, match=None if comm else r"layer '0', Conv2d"):
            trained.fit(x, y, epochs=1, batch_size=BATCH, shuffle=False, progress=False)
        return state(trained) == before

    assert job() and on_ranks(2, job) == [True, True]
    assert "NonFiniteError: layer '0', Conv2d(1, 6, " in capsys.readouterr().err


@pytest.mark.thorough
def test_a_step_happens_as_a_whole_or_not_at_all():
    calls = []

    def failing(scores, y):
        calls.append(len(y))
        if len(calls) == 11:  # the third shard of the third step
            raise OSError("no such metric")
        return 0.0

    trained, whole = (trainer(shards=4, metrics={"accuracy": metric}) for metric in (failing, lambda scores, y: 0.0))
    with pytest.raises(OSError, match="no such metric"):
        fit(trained)
    assert trained.step == 2
    fit(trained)
    fit(whole)
    assert state(trained) == state(whole)
