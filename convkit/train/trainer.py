"""The loop that every training is, written once."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, machine
from .._mode import inference
from .._numbers import generator
from .._options import flag, one_of
from .._shapes import at_least, integer
from .._typing import Rng
from .._words import brief, said
from ..data.minibatches import Minibatches, minibatches
from ..distributed import Ranks
from ..nn.losses import Loss, Penalty, softmax_cross_entropy
from ..nn.module import Module
from ..optim.clip import clip_grad_norm
from ..optim.ema import EMA
from ..optim.optimizer import Optimizer
from ..optim.schedules import Schedule
from . import checkpoint as checkpoints
from . import guard as guards
from .arguments import check_after_epochs, check_made, warn_of_none_left
from .early_stopping import EarlyStopping
from .history import History
from .interrupt import held_back, uninterrupted
from .means import Figure, Means
from .metrics import Metric
from .passes import Sharded, Whole, lose, measure
from .progress import bar
from .undo import Undo

# The guard says more, and once, than NumPy's warnings would.
_QUIET = {"over": "ignore", "invalid": "ignore", "divide": "ignore"}


class Trainer:
    """Trains a model, measures it, and can stop after any step and go on as if nothing had been.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
        Of the model's parameters.
    loss : function, default `convkit.nn.losses.softmax_cross_entropy`
        Called as ``loss(scores, labels)``; returns a `Loss`, the batch's mean or sum. Its `weight` says what a mean
        has divided by, and so what it counts among others. A batch in which nothing counts (all labels are ignored)
        teaches nothing: it goes through the model, and the optimizer takes no step.
    schedule : Schedule, function or None
        The learning rate of each step, counted from 0 over all epochs: ``optimizer.lr = schedule(step)``. A `Schedule`
        of `convkit.optim.schedules` that drives no optimizer yet starts from this one's rate.
    schedule_per : {"step", "epoch"}
        What the schedule is called with the number of.
    transform : function or None
        Changes every training batch as it comes by, ``x = transform(x, rng=rng)``: see `convkit.data`.
    metrics : mapping of str to function, or None
        Called as ``metric(scores, labels)``; each returns a mean over the batch, a number that counts as much as the
        batch has samples, or a pair ``(number, weight)``, or a `Mean` or a `Loss`, which know their weight. None: the
        accuracy, where scores tell classes apart and labels are classes; labels that the loss ignores don't count.
    penalty : function or None
        Called as ``penalty(model)``, returns a `Penalty` on the weights: ``partial(losses.l2_penalty, strength=1e-4)``.
        Its gradients join the loss's; its value stands apart in the history, as a mean over the epoch.
    clip_norm : float or None
        Joint norm that the gradients are scaled down to, see `convkit.optim.clip_grad_norm`. None: they are not.
    ema : EMA or None
        Averages of the model's weights, updated after every step; what is measured, and what early stopping keeps, is
        the model with them.
    early_stopping : EarlyStopping or None
    guard : bool, default True
        Whether a step whose loss or gradients are not finite raises, before any parameter changes, a `NonFiniteError`
        that names the layer in which it began. What an update makes of finite gradients, the next step finds.
    rng : numpy.random.Generator, int or None
        Source of the samples' order and of what transforms draw, or its seed. To have all of a run follow from one
        seed, make one Generator, build the model with it, and give it to the trainer.
    shards : int or None
        Cut every batch into so many, each of which goes through the model by itself: see `convkit.distributed`. None:
        it goes through at once.
    comm : mpi4py.MPI.Intracomm or None
        The ranks that share the shards out; all of them build the same trainer. None: this process computes them all.

    Attributes
    ----------
    history : History
        What every finished epoch measured.
    epoch, step : int
        Epochs finished and steps taken, in all.
    ranks : convkit.distributed.Ranks
        ``ranks.rank == 0`` is true of one process only.

    Raises
    ------
    TypeError
        If an argument is not of its kind.
    ValueError
        If the optimizer or the averages have no parameter of the model, `clip_norm` is negative, `schedule_per` is
        unknown, or there are fewer shards than ranks.

    Notes
    -----
    A run follows to the bit from the initial weights and the generators, on any number of threads.

    What is measured of a set, by `evaluate`, in the history, for early stopping, is what the set would measure as a
    single batch, to rounding.

    A step is taken as a whole or not at all. If anything in it raises (loss, metric, guard, schedule, optimizer, a file
    that cannot be read, Ctrl-C), all is as it was before: parameters, gradients, buffers, averages, optimizer,
    generators and history. The next `fit` begins with the same batch. With an optimizer or an `EMA` that is none of
    convkit's own, all that they could have changed is copied before every step.

    With `shards` the run follows from their number as well, and is the same to the bit on any number of ranks. Each
    shard normalises by its own batch statistics, and finds every generator where run, step and shard put it; of
    buffers, such as running statistics, the shards have the mean. A mean of the batch is that of all its samples: a
    shard weighs what its loss has divided by. In `fit`, what raises on one rank ends all.

    Examples
    --------
    >>> import numpy as np
    >>> from convkit import nn, optim, train
    >>> x = np.arange(8, dtype=np.float32).reshape(8, 1) / 8
    >>> model = nn.Linear(1, 2, rng=0)
    >>> trainer = train.Trainer(model, optim.SGD(model.parameters(), 0.5), rng=0, shards=4)
    >>> trainer.fit(x, np.arange(8) // 4, epochs=50, progress=False)["accuracy"][-1]
    1.0
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Callable[[np.ndarray, np.ndarray], Loss] = softmax_cross_entropy,
        *,
        schedule: Callable[[int], float] | None = None,
        schedule_per: str = "step",
        transform: Callable[..., np.ndarray] | None = None,
        metrics: Mapping[str, Metric] | None = None,
        penalty: Callable[[Module], Penalty] | None = None,
        clip_norm: float | None = None,
        ema: EMA | None = None,
        early_stopping: EarlyStopping | None = None,
        guard: bool = True,
        rng: Rng = None,
        shards: int | None = None,
        comm: Any = None,
    ) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.schedule, self.schedule_per = schedule, schedule_per
        self.transform, self.metrics, self.penalty = transform, metrics, penalty
        self.clip_norm, self.ema, self.early_stopping, self.guard = clip_norm, ema, early_stopping, guard
        check_made(self)
        one_of(schedule_per, ("step", "epoch"), "schedule_per")
        if shards is None and comm is not None:
            raise ValueError("shards must be given with comm, for results follow from it, got None")
        self.rng = generator(rng)
        self.shards, self.ranks = shards, Ranks(1 if shards is None else shards, comm)
        self.run = None if shards is None else int(self.rng.integers(2**63))  # what generators of shards start from
        self.history, self.epoch, self.step = History(), 0, 0
        # The epoch under way: what was measured, and where the batches stand, as their `state_dict` has it.
        self._means = Means()
        self._place: Mapping[str, Any] | None = None
        self._resumed = False  # since the last `fit`: a script that is run again may find that all is done
        if isinstance(schedule, Schedule) and schedule.optimizer is None:
            schedule.drive(optimizer)

    # ---------------------------------------------------------------- training

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int,
        batch_size: int = 64,
        shuffle: bool = True,
        drop_last: bool = False,
        validation: tuple[Any, Any] | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_steps: int | None = None,
        callbacks: Sequence[Callable[[Trainer], object]] = (),
        progress: bool = True,
    ) -> History:
        """Train until so many epochs are finished in all; a trainer that has begun before goes on from where it is.

        Parameters
        ----------
        x, y : ndarray
            The training samples and their labels, or whatever `convkit.data.minibatches` takes.
        epochs : int
            Epochs in all, those before this call (or before the checkpoint that was loaded) included. If a trainer has
            trained so many already, a UserWarning says so, unless it was just loaded.
        batch_size, shuffle, drop_last
            See `convkit.data.minibatches`.
        validation : (x, y) or None
            Samples to evaluate the model on after every epoch, as ``val_...`` in the history.
        checkpoint : str, Path or None
            File to `save` to after every epoch. With it, Ctrl-C lets the step under way finish and saves before
            KeyboardInterrupt, which says so, is raised; a second Ctrl-C does not wait. Of several ranks the first saves
            and all read; SIGINT to one of them stops all.
        checkpoint_steps : int or None
            Save after every so many steps as well.
        callbacks : sequence of functions
            Each is called as ``callback(trainer)`` after every epoch, once it is in the history and before it is saved;
            on every rank.
        progress : bool, default True
            Whether to show a bar, if standard error is a terminal and tqdm, of the extra ``[train]``, is installed.

        Returns
        -------
        History
            The trainer's own.

        Raises
        ------
        ImportError
            If a checkpoint is wanted and safetensors, of the extra ``[train]``, is not installed.
        FileNotFoundError, PermissionError, IsADirectoryError
            If the checkpoint's folder does not exist, or cannot be written to, or the checkpoint is a folder.
        NonFiniteError
            If the loss or a gradient is not finite.
        TypeError
            If `validation` is no pair, `callbacks` are no functions, or another argument is not of its kind.
        ValueError
            If `x` and `y` do not fit, there is not one batch, `epochs` or `batch_size` is not positive, or the batches
            are not those that an epoch was interrupted in.
        """
        with self.ranks.ending_all():
            at_least(epochs, "epochs")
            if checkpoint_steps is not None:
                at_least(checkpoint_steps, "checkpoint_steps")
            flag(progress, "progress")
            saves = checkpoint is not None and self.ranks.rank == 0
            if saves:
                checkpoints.check_possible(checkpoint)
            check_after_epochs(validation, callbacks)
            batches = self._batches(x, y, batch_size, shuffle=shuffle, drop_last=drop_last)
            self._check_ranks(epochs, validation, batches)
            if not self._resumed:
                warn_of_none_left(epochs, self.epoch)
            self._resumed = False
            steps, show = (epochs - self.epoch) * len(batches) - batches.done, progress and self.ranks.rank == 0
            with held_back(checkpoint is not None) as interrupted, bar(self.step, self.step + steps, show) as tick:

                def pause(save: bool) -> bool:
                    """Save, if it is time, and say whether to stop: all ranks alike, which wait for the file."""
                    if saves and save:
                        self.save(checkpoint)
                    return self.ranks.any(interrupted())

                stop = False
                while self.epoch < epochs and not self._stopped() and not stop:
                    if self._run_epoch(batches, validation, checkpoint_steps, pause, tick):
                        for callback in callbacks:
                            callback(self)
                        if self.ranks.size > 1:
                            self.ranks.check_same(self._about())  # a callback may have changed one rank's
                    stop = pause(True)
        if stop:
            raise KeyboardInterrupt(f"saved after step {self.step} to {checkpoint}")
        if self._stopped():
            self.early_stopping.restore(self.model)
        return self.history

    def _batches(self, x: Any, y: Any, batch_size: int, **order: bool) -> Minibatches:
        """The batches, those that are left of an epoch first."""
        ranks = None if self.shards is None else self.ranks
        batches = minibatches(x, y, batch_size, rng=self.rng, ranks=ranks, **order)
        if not len(batches):
            raise ValueError(f"x must hold at least one batch of {batch_size} samples, got {len(x)} samples")
        if self._place is not None:
            batches.load_state_dict(self._place)
        return batches

    def _stopped(self) -> bool:
        """Whether the training has ended early."""
        return self.early_stopping is not None and self.early_stopping.stopped

    def _run_epoch(
        self,
        batches: Minibatches,
        validation: Any,
        every: int | None,
        pause: Callable[[bool], bool],
        tick: Callable[..., None],
    ) -> bool:
        """Take the steps of an epoch, or what is left of them, and measure; False if stopped after one of them."""
        self.model.train()
        if self.ema is not None:
            self.ema.checked()
        undo, coming = Undo(self.model, self.optimizer, self.ema, self.rng), iter(batches)
        take = (Whole if self.shards is None else Sharded)(self, undo.generators)
        while True:
            with undo():  # the first batch draws the epoch's order
                batch = next(coming, None)
                if batch is None:
                    break
                try:
                    figures = self._learn(take, batch)
                except (ValueError, guards.NonFiniteError) as error:
                    self._name_sample(error, batches)
                    raise
                self._check_columns(figures, validation)
                self._step(figures, batches, undo)
            tick()
            if pause(every is not None and self.step % every == 0):
                return False
        row = {"epoch": self.epoch + 1} | self._means()
        if validation is not None:
            row |= {f"val_{name}": value for name, value in self.evaluate(*validation, together=True).items()}
        row["lr"] = self.optimizer.lr
        self.history.check(row)
        with uninterrupted():
            if self.early_stopping is not None:
                self.early_stopping.update(row, self.model.state_dict() if self.ema is None else self.ema.shadow)
            self.history.append(row)
            self.epoch, self._means, self._place = self.epoch + 1, Means(), None
        tick(self.history)
        return True

    def _name_sample(self, error: Exception, batches: Minibatches) -> None:
        """Let an error about a sample of the batch, which is shuffled, say which of the set's it is."""
        sample = getattr(error, "sample", None)
        if sample is not None and self.shards is None:
            number = batches.samples(batches.done - 1)[sample]
            error.add_note(f"that is sample {number} of x and y, number {sample} of the batch")

    def _learn(self, take: Whole, batch: Any) -> dict[str, Figure]:
        """Take a batch forward and, if anything in it counts, back; return what it measures."""
        if self.schedule is not None:
            self.optimizer.lr = self.schedule(self.step if self.schedule_per == "step" else self.epoch)
        taken = take(batch)
        figures = {"loss": taken.loss}
        with self.quiet():
            if self.penalty is not None:
                penalty = self.penalty(self.model)
                penalty.backward()
                figures["penalty"] = Figure.of("penalty", penalty.value, taken.samples)
            counts = taken.loss.weight != 0
            if self.guard and counts and not guards.step_is_finite(taken.value, self.optimizer.parameters):
                raise taken.diagnose() or guards.NonFiniteError(
                    "the step's gradients must be finite, and are not, through no layer; is it the penalty's?"
                )
        figures |= taken.measure()
        if self.clip_norm is not None:
            clip_grad_norm(self.optimizer.parameters, self.clip_norm)
        return figures

    def quiet(self) -> AbstractContextManager[Any]:
        """Inside, NumPy does not warn of what the guard reports, if there is a guard."""
        return np.errstate(**_QUIET if self.guard else {})

    def _check_columns(self, figures: Mapping[str, Figure], validation: Any) -> None:
        """Say now, before anything has been learned, if what is measured cannot go into the history."""
        of_set = [name for name in figures if name != "penalty" or self.penalty is None]
        validated = [] if validation is None else [f"val_{name}" for name in of_set]
        row = ["epoch", *figures, *validated, "lr"]
        self.history.check(row)
        if self.early_stopping is not None:
            self.early_stopping.check(row)

    def _step(self, figures: Mapping[str, Figure], batches: Minibatches, undo: Undo) -> None:
        """Take the optimizer's step and all that follows from it."""
        with uninterrupted():
            if figures["loss"].weight != 0:
                self.optimizer.step()
                if self.ema is not None:
                    self.ema.update()
            self._means.add(figures)
            self.step += 1
            self._place = (self._place or batches.state_dict()) | {"done": batches.done}
            undo.settle()

    # ---------------------------------------------------------------- measuring

    def evaluate(self, x: Any, y: Any, *, batch_size: int = 256, together: bool = False) -> dict[str, float]:
        """Measure the loss and the metrics on a set, in evaluation mode, with `ema`'s weights if there is one.

        Parameters
        ----------
        x, y : ndarray
            Samples and labels, at least one, or whatever `convkit.data.minibatches` takes.
        batch_size : int, default 256
            It bounds memory, and changes rounding errors alone.
        together : bool, default False
            Whether all ranks call this at once, and share the batches out, as `fit` does; the bits are the same.

        Returns
        -------
        dict of str to float
            Means over the samples, ``"loss"`` first; of a loss that sums, the sum.

        Raises
        ------
        ValueError
            If the set is empty, or no sample in it counts, `x` and `y` do not fit, or `batch_size` is not positive.
        """
        batches, first, step = minibatches(x, y, batch_size, shuffle=False), 0, 1
        if flag(together, "together"):
            first, step = self.ranks.rank, self.ranks.size
        found: dict[int, dict[str, Figure]] = {}
        with self._averaged(batches), inference():
            for k in range(first, len(batches), step):
                images, labels = batches.at(k)
                scores = self.model.predict(images)
                found[k] = {"loss": lose(self.loss, scores, labels)[1]} | measure(self, scores, labels)
        means = Means()
        for others in self.ranks.gather(found) if together else [found]:
            found |= others
        for k in range(len(batches)):
            means.add(found[k])
        return means()

    def predict(self, x: Any, *, batch_size: int = 256) -> np.ndarray:
        """Return the model's scores for a set, ``(N, *)``, in evaluation mode.

        Raises
        ------
        ValueError
            If the set is empty, or `batch_size` is not positive.
        """
        batches = minibatches(x, x, batch_size, shuffle=False)
        with self._averaged(batches):
            return np.concatenate([self.model.predict(x[batches.samples(k)]) for k in range(len(batches))])

    @contextmanager
    def _averaged(self, batches: Minibatches) -> Iterator[None]:
        """The model with `ema`'s weights, if there is one, for a set that is not empty."""
        if not len(batches):
            raise ValueError("x must hold at least one sample, got none")
        averages = ExitStack()
        try:
            if self.ema is not None:
                averages.enter_context(self.ema.swapped())
            yield
        finally:
            with uninterrupted():
                averages.close()

    # ---------------------------------------------------------------- stopping and going on

    def _optional(self) -> dict[str, Any]:
        """What has a state of its own, and may not be there."""
        return {"ema": self.ema, "early_stopping": self.early_stopping}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next steps depend on: the model's and the optimizer's state, all random generators
        (the layers' too), the place in the epoch, the history and early stopping. The arrays are not copies.
        """
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            **{name: None if part is None else part.state_dict() for name, part in self._optional().items()},
            "generators": checkpoints.generator_states(checkpoints.generators(self.rng, self.model)),
            "batches": self._place,
            "sums": {name: list(figure) for name, figure in self._means.figures.items()},
            "history": dict(self.history),
            "epoch": self.epoch,
            "step": self.step,
            "shards": None if self.shards is None else {"number": self.shards, "run": self.run},
        }

    def _about(self) -> dict[str, Any]:
        """What all ranks have to have in common, after every epoch, too."""
        state = self.state_dict()
        state["early_stopping"] = None if self.early_stopping is None else vars(self.early_stopping)
        parts = ("model", "optimizer", "ema", "early_stopping", "generators", "batches", "epoch", "step", "shards")
        versions = {"convkit": __version__, "NumPy": np.__version__, "instruction set": machine.isa()}
        return versions | {name: checkpoints.digest({name: state[name]})[:16] for name in parts}

    def _check_ranks(self, epochs: int, validation: Any, batches: Minibatches) -> None:
        """See to it that all ranks train the same thing in the same way: else some would wait, or end elsewhere."""
        if self.ranks.size == 1:
            return
        settings = ("loss", "schedule", "schedule_per", "transform", "metrics", "penalty", "clip_norm", "guard")
        about = self._about() | {name: _described(getattr(self, name)) for name in settings}
        about["layers"] = checkpoints.digest({"layers": _described(self.model)})[:16]
        about |= {"epochs": epochs, "samples": len(batches.x), "batches": len(batches)}
        about |= {name: getattr(batches, name) for name in ("batch_size", "shuffle", "drop_last")}
        about["validation samples"] = None if validation is None else len(validation[0])
        self.ranks.check_same(about)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state` was taken.

        Parameters
        ----------
        state : mapping
            As `state_dict` returned it, of a trainer that was built alike.

        Raises
        ------
        ValueError
            If it does not fit; nothing has changed then.
        """
        before = copy.deepcopy(self.state_dict())
        try:
            self._set_state(state)
        except BaseException as error:
            with uninterrupted():
                self._set_state(before)
            if not isinstance(error, Exception):
                raise
            raise ValueError(f"state must be that of a trainer built as this one: {said(error)}") from error
        self._resumed = True

    def _set_state(self, state: Mapping[str, Any]) -> None:
        """`load_state_dict`, with an error of any kind half way."""
        sharded = state.get("shards")  # convkit 0.1 had none
        number = None if sharded is None else sharded["number"]
        if number != self.shards:
            raise ValueError(f"shards must be {number}, as they were, got {self.shards}")
        self.run = None if sharded is None else integer(sharded["run"], "run")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, part in self._optional().items():
            if (state[name] is None) != (part is None):
                raise ValueError(f"{name} must be there in both or in neither, got {brief(part)}")
            if part is not None:
                part.load_state_dict(state[name])
        checkpoints.set_generator_states(checkpoints.generators(self.rng, self.model), state["generators"])
        self.epoch, self.step = integer(state["epoch"], "epoch"), integer(state["step"], "step")
        self.history = History.of(state["history"], self.epoch)
        sums = state["sums"]
        if "samples" in state:  # convkit 0.1 weighed everything by their number
            sums = {name: (total, state["samples"]) for name, total in sums.items()}
        self._means = Means({name: Figure.saved(*pair) for name, pair in sums.items()})
        place = state["batches"]
        self._place = None if place is None or place["order"] is None else dict(place)

    def save(self, path: str | Path) -> None:
        """Write a checkpoint: `state_dict` as one safetensors file. What stood at `path` stands until it is complete.

        Raises
        ------
        ImportError
            If safetensors, of the extra ``[train]``, is not installed.
        OSError
            If the file cannot be written.
        """
        checkpoints.write(path, self.state_dict())

    def load(self, path: str | Path) -> None:
        """Read a checkpoint that `save` wrote, of a trainer that was built alike; the next `fit` goes on from there.

        Raises
        ------
        ImportError
            If safetensors, of the extra ``[train]``, is not installed.
        OSError
            If the file cannot be read.
        ValueError
            If it is no checkpoint, is damaged, or does not fit; nothing has changed then.
        """
        self.load_state_dict(checkpoints.read(path))


def _described(part: Any) -> str:
    """What it says of itself, but for its place in memory and the order of a set, which are each process's own.

    It does not see what is not said: two lambdas of one place, or two objects of a class without a `__repr__`, are one.
    """
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(part))
    # With a colon it is a dict, whose order is the program's own. Of sets within a set those alone are put in order.
    return re.sub(r"\{([^{}:]*)\}", lambda found: "{" + ", ".join(sorted(found[1].split(", "))) + "}", text)
