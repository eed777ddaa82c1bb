"""A batch through the model and back: at once, or as shards whose results are added up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._words import with_type
from ..data.minibatches import Share
from ..nn.losses import Loss, NothingCountsError
from ..nn.module import Buffer
from ..optim.optimizer import unique_parameters
from . import checkpoint as checkpoints
from . import guard as guards
from .means import Figure, Means
from .metrics import fitting

if TYPE_CHECKING:
    from .trainer import Trainer

Generators = Mapping[str, np.random.Generator]


class Pass(NamedTuple):
    """What a batch has given, besides the gradients, which the parameters have."""

    samples: int
    value: float  # of the loss
    loss: Figure
    measure: Callable[[], dict[str, Figure]]
    diagnose: Callable[[], guards.NonFiniteError | None]  # which layer made something that is not finite, if one did


class Whole:
    """Takes a batch forward and, if anything in it counts, back."""

    def __init__(self, trainer: Trainer, generators: Generators) -> None:
        self.trainer, self.generators = trainer, generators

    def __call__(self, batch: tuple[Any, Any]) -> Pass:
        return self.one(*batch)

    def one(self, x: Any, y: Any, samples: int | None = None) -> Pass:
        """Take x through; as a part of so many `samples`, with the gradients of its part in the loss."""
        trainer = self.trainer
        if trainer.transform is not None:
            x = trainer.transform(x, rng=trainer.rng)
        drawn = checkpoints.generator_states(self.generators) if trainer.guard else {}
        with trainer.quiet():
            scores, back = trainer.model.begin(x)
            loss, figure = lose(trainer.loss, scores, y)
            trainer.model.zero_grad()
            if figure.weight != 0:
                part = None if samples is None or figure.weight is None else figure.weight / samples
                back(loss.grad if part is None else _times(loss.grad, part), need_input=False)

        def diagnose() -> guards.NonFiniteError | None:
            if figure.weight == 0:
                return None
            checkpoints.set_generator_states(self.generators, drawn)  # dropout has to drop the same again
            return guards.diagnose(trainer.model, trainer.loss, x, y)

        value = loss.value if loss is not None else figure.total
        return Pass(len(y), value, figure, lambda: measure(trainer, scores, y), diagnose)


class Sharded(Whole):
    """Takes the shards of a batch through that are this rank's, each as if it were a batch; adds up those of all ranks.

    Gradients, and what is noted with them, lie in one array for each dtype, so that ranks have one thing to exchange.
    There are two sets of these: those of the step before are kept until a step is settled.
    """

    def __init__(self, trainer: Trainer, generators: Generators) -> None:
        super().__init__(trainer, generators)
        self.ranks = trainer.ranks
        self.parameters = unique_parameters([*trainer.model.parameters(), *trainer.optimizer.parameters])
        self.buffers = [buffer for _, buffer in trainer.model.named_buffers()]
        ends, self._places = [0, 0], []
        for parameter in self.parameters:
            which = int(parameter.dtype == np.float64)
            self._places.append((which, slice(ends[which], ends[which] + parameter.size)))
            ends[which] += parameter.size
        size = sum(buffer.size if _averaged(buffer) else buffer.data.nbytes for buffer in self.buffers)
        self._notes = slice(ends[1], ends[1] + len(self.parameters) + len(self.buffers) + size)
        self._sums, self._others = (
            [np.empty(ends[0], np.float32), np.empty(self._notes.stop, np.float64)] for _ in range(2)
        )

    def __call__(self, batch: Share) -> Pass:
        measured: dict[int, dict[str, Figure]] = {}
        diagnoses: list[Callable[[], guards.NonFiniteError | None]] = []
        drawn = checkpoints.generator_states(self.generators)
        self._before = [(buffer.data, buffer.data.copy()) for buffer in self.buffers]
        grads = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if any(grad.base is sums for grad in grads for sums in self._sums):
            self._sums, self._others = self._others, self._sums

        def leaf(shard: int, out: Sequence[np.ndarray], add: bool) -> None:
            for parameter in self.parameters:
                parameter.grad = None
            if shard in batch.shards:
                self._seed(shard)
                one = self.one(*batch.shards[shard], batch.samples)
                diagnoses.append(one.diagnose)
                with self.trainer.quiet():
                    measured[shard] = {"loss": one.loss} | one.measure()
                    self._write(out, add, one.samples / batch.samples, shard == 0)
            elif not add:  # of fewer samples than shards, the last shards have none
                for array in out:
                    array.fill(0)

        self.ranks.sum(self._sums, leaf)
        checkpoints.set_generator_states(self.generators, drawn)
        for others in self.ranks.gather(measured):
            measured |= others
        of_shards = [measured.get(shard) for shard in range(self.ranks.shards)]
        figures = self.ranks.fold(of_shards, _together)
        loss = figures.pop("loss")
        self._read(batch.samples / loss.weight if loss.weight else 1.0)

        def diagnose() -> guards.NonFiniteError | None:
            found = next(filter(None, (look() for look in diagnoses)), None)
            return next(filter(None, self.ranks.gather(found)), None)

        return Pass(batch.samples, loss(), loss, lambda: figures, diagnose)

    def _seed(self, shard: int) -> None:
        """Set all generators to where this shard of this step of this run begins."""
        for k, generator in enumerate(self.generators.values()):
            bits, seed = generator.bit_generator, (self.trainer.run, self.trainer.step, shard, k)
            bits.state = type(bits)(np.random.SeedSequence(seed)).state

    def _write(self, out: Sequence[np.ndarray], add: bool, part: float, first: bool) -> None:
        """Move what a shard has left in parameters and buffers to `out`."""
        values = [*(parameter.grad for parameter in self.parameters), self._noted(part, first)]
        for (which, place), value in zip([*self._places, (1, self._notes)], values, strict=True):
            if not add:
                out[which][place] = 0 if value is None else value.reshape(-1)
            elif value is not None:
                out[which][place] += value.reshape(-1)
        for buffer, (array, before) in zip(self.buffers, self._before, strict=True):
            if buffer.data is not array or not _same(array, before):
                buffer.data = array
                np.copyto(array, before)

    def _noted(self, part: float, first: bool) -> np.ndarray:
        """What is to be added up besides gradients: which there are, which buffers have changed, and the buffers.

        Of one of floats there is to be the mean; of one of integers what the first shard has, byte by byte.
        """
        flags = [parameter.grad is not None for parameter in self.parameters]
        values = []
        for buffer, (_, before) in zip(self.buffers, self._before, strict=True):
            flags.append(not _same(buffer.data, before))
            if _averaged(buffer):
                values.append(buffer.data.reshape(-1) * np.float64(part))
            else:
                values.append(np.frombuffer(buffer.data.tobytes(), np.uint8) * np.float64(first))
        return np.concatenate([np.array(flags, np.float64), *values])

    def _read(self, scale: float) -> None:
        """Give parameters and buffers what the sums hold; gradients are to be multiplied by `scale`."""
        notes = self._sums[1][self._notes]
        flags, values = np.split(notes, [len(self.parameters) + len(self.buffers)])
        if scale != 1:
            for sums, end in zip(self._sums, (None, self._notes.start), strict=True):
                sums[:end] *= sums.dtype.type(scale)
        for parameter, (which, place), there in zip(self.parameters, self._places, flags, strict=False):
            parameter.grad = self._sums[which][place].reshape(parameter.shape) if there else None
        for buffer, changed in zip(self.buffers, flags[len(self.parameters) :], strict=True):
            new, values = np.split(values, [buffer.size if _averaged(buffer) else buffer.data.nbytes])
            if changed:
                new = new if _averaged(buffer) else np.frombuffer(new.astype(np.uint8), buffer.dtype)
                buffer.data[...] = new.reshape(buffer.shape)
                buffer.version += 1


def _averaged(buffer: Buffer) -> bool:
    """Whether it is of floats, and so has a mean."""
    return buffer.dtype.kind == "f"


def _same(array: np.ndarray, before: np.ndarray) -> bool:
    """Whether they have the same bits."""
    return array.tobytes() == before.tobytes()


def lose(loss: Callable[..., Any], scores: Any, y: Any) -> tuple[Loss | None, Figure]:
    """The loss of a batch, if anything counts in it, and what it adds to that of a set."""
    try:
        found = loss(scores, y)
    except NothingCountsError as nothing:
        return None, Figure.of("loss", nothing, len(y))
    if not hasattr(found, "grad"):
        raise TypeError(f"loss must return a Loss, got {with_type(found)}")
    return found, Figure.of("loss", found, len(y))


def measure(trainer: Trainer, scores: Any, y: Any) -> dict[str, Figure]:
    """What the metrics of a batch add to those of a set."""
    figures = {}
    metrics = fitting(trainer.loss, scores, y) if trainer.metrics is None else trainer.metrics
    for name, metric in metrics.items():
        try:
            measured = metric(scores, y)
        except NothingCountsError as nothing:
            measured = nothing
        figures[name] = Figure.of(name, measured, len(y))
    return figures


def _times(grad: Any, part: float) -> Any:
    """A gradient, or several, by a number."""
    if isinstance(grad, tuple | list):
        return type(grad)(_times(each, part) for each in grad)
    return grad if part == 1 else grad * grad.dtype.type(part)


def _together(a: dict[str, Figure], b: dict[str, Figure]) -> dict[str, Figure]:
    """What two shards have measured, as one."""
    means = Means(a)
    means.add(b)
    return means.figures
