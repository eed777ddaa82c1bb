"""An example of every public object that a person would send to another process, and what to do with it there."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import convkit
import small_training
from convkit import _verify, analysis, data, distributed, graph, models, nn, onnx_backend, optim, train
from convkit.nn import losses
from convkit.optim import schedules
from nn_cases import ALONE, TWINS, noise

MODULES = (convkit, nn, losses, models, optim, schedules, data, train, analysis, graph, onnx_backend, distributed)
ABSTRACT = {nn.Module, nn.ByElement, optim.Optimizer, schedules.Schedule, data.Normalizer}
ROWS = {graph.Op}  # of a table that every process has


class Example(NamedTuple):
    """What makes the object, and what is done with it: it returns all that could come out otherwise."""

    name: str
    make: Callable[[], Any]
    use: Callable[[Any], Any] = lambda sent: sent


# ---------------------------------------------------------------- layers and models


def steps(x, *more):
    """Two steps of gradient descent: everything that a layer or model does."""

    def use(module):
        optimizer = optim.SGD(parameters, 0.1, 0.9) if (parameters := list(module.parameters())) else None
        seen = []
        for _ in range(2):
            y = module(x, *more)
            seen += [y, module.backward(np.ones_like(y))]
            if optimizer is not None:
                seen += [parameter.grad.copy() for parameter in parameters]
                optimizer.step()
        return seen, module.state_dict(), repr(module)

    return use


def layer(case):
    """One of the cases that all layers are tested by; a step was taken, so that running statistics are under way."""

    def make():
        module = case.build(nn).train(case.training)
        steps(*operands)(module)
        return module

    rng = np.random.default_rng(3)
    x = rng.standard_normal(case.shape).astype(np.float32)
    operands = (x, *case.more(rng))
    return Example(case.name, make, steps(*operands))


def tied():
    """Two layers that share a weight."""
    model = nn.Sequential(nn.Linear(4, 4, rng=0), nn.ReLU(), nn.Linear(4, 4, rng=1))
    model[2].weight = model[0].weight
    return model


def under_way():
    """A model between forward and backward, which stays behind."""
    model = small_training.network(np.random.default_rng(0))
    model(noise(4, 1, 5, 5))
    return model


def shared(head):
    ys = head([noise(2, 3), noise(4, 3, seed=1)])
    return ys, head.backward(ys), head.layer.weight.grad


def pyramid(neck):
    maps = [noise(1, 2, 8, 8), noise(1, 3, 4, 4)]
    y = neck(maps)
    return y, neck.backward([np.ones_like(each) for each in y])


MODELS = (
    Example("tied", tied, steps(noise(3, 4))),
    Example("under_way", under_way, steps(noise(4, 1, 5, 5))),
    Example("dropout", lambda: nn.Dropout(0.5, rng=1), steps(noise(5, 6))),
    Example("dropout2d", lambda: nn.Dropout2d(0.5, rng=1), steps(noise(5, 6, 2, 2))),
    Example("sequential", lambda: small_training.network(np.random.default_rng(0)), steps(noise(4, 1, 5, 5))),
    Example("lenet5", lambda: models.lenet5(3, rng=0), steps(noise(2, 1, 32, 32))),
    Example("unet", lambda: models.unet(3, in_channels=2, width=2, depth=2, rng=0), steps(noise(2, 2, 8, 12))),
    Example("each", lambda: nn.Each(nn.Linear(3, 2, rng=0)), shared),
    Example("feature_pyramid", lambda: models.FeaturePyramid((2, 3), 4, rng=0), pyramid),
    Example(
        "pyramid_network",
        lambda: models.PyramidNetwork(
            [nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1, rng=0)), nn.Sequential(nn.Conv2d(2, 3, 3, 2, 1, rng=0))],
            models.FeaturePyramid((2, 3), 4, rng=0),
        ),
        lambda network: network(noise(1, 1, 16, 16)),
    ),
)


# ---------------------------------------------------------------- optimizers


def optimizer(kind, **options):
    """An optimizer with a step behind it and a gradient for the next."""

    def make():
        parameters = [nn.Parameter(noise(3, 4)), nn.Parameter(noise(5, dtype="float64"))]
        optimizer = kind(parameters, **options)
        for _ in range(2):
            for parameter in parameters:
                parameter.grad = np.cos(parameter.data)
            if not optimizer.state[0]:
                optimizer.step()
        return optimizer

    def use(optimizer):
        for _ in range(2):
            optim.clip_grad_norm(optimizer.parameters, 1.0)
            optimizer.step()
        return [parameter.data for parameter in optimizer.parameters], optimizer.state_dict()

    return Example(kind.__name__, make, use)


def averages():
    ema = optim.EMA(small_training.network(np.random.default_rng(0)), 0.5)
    ema.update()
    return ema


def average(ema):
    ema.model[0].weight.data[...] = 2
    ema.update()
    with ema.swapped() as model:
        return model.eval()(noise(2, 1, 5, 5)), ema.state_dict()


def schedule(made):
    def make():
        return made().drive(optim.SGD([nn.Parameter(np.ones(1))], 0.5))

    return Example(made().__class__.__name__, make, lambda driven: [driven.step() for _ in range(9)])


OPTIMIZERS = (
    optimizer(optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    optimizer(optim.Adam),
    optimizer(optim.AdamW),
    optimizer(optim.RMSprop, momentum=0.5),
    Example(
        "group",
        lambda: optim.Adam([{"params": [nn.Parameter(noise(2))], "lr": 1}], 2).groups[0],
        lambda group: group.numbers,
    ),
    Example("ema", averages, average),
    schedule(lambda: schedules.Step(2)),
    schedule(lambda: schedules.MultiStep([2, 5])),
    schedule(lambda: schedules.Exponential(0.9)),
    schedule(lambda: schedules.Linear(5)),
    schedule(lambda: schedules.WarmUp(3)),
    schedule(lambda: schedules.Cosine(6)),
    schedule(lambda: schedules.Sequence([schedules.WarmUp(3), schedules.Cosine(4)], [3])),
    schedule(lambda: schedules.Product([schedules.WarmUp(3), schedules.Step(2)])),
)


# ---------------------------------------------------------------- data and training


def image_folder(root):
    """A folder of four small pictures; written once, read by all examples."""
    from PIL import Image

    for number, name in enumerate(("a/0.png", "a/1.png", "b/0.png", "b/1.png")):
        (root / name).parent.mkdir(exist_ok=True)
        Image.new("L", (6, 5), 40 * number).save(root / name)
    return data.ImageFolder(root, size=(4, 4), mode="L")


def begun_batches():
    """The batches of a set, one handed out: those of the next epoch follow from the generator."""
    batches = data.minibatches(noise(7, 2), np.arange(7), 3, rng=0)
    next(iter(batches))
    return batches


class Stop:
    """A transform that interrupts a training on its so manieth batch, once."""

    def __init__(self, batch):
        self.left = batch

    def __call__(self, x, rng):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return x + rng.normal(size=x.shape).astype(x.dtype) / 10


def interrupted():
    """A trainer in the middle of its second epoch."""
    trainer = small_training.trainer(
        transform=Stop(9), penalty=partial(losses.l2_penalty, strength=1e-3), clip_norm=1.0
    )
    try:
        small_training.fit(trainer)
    except KeyboardInterrupt:
        return trainer
    raise AssertionError("the training was not interrupted")


def trained_on(trainer):
    history = small_training.fit(trainer)
    return dict(history), trainer.state_dict(), trainer.evaluate(*small_training.samples())


def stopping():
    early = train.EarlyStopping("loss", patience=1)
    early.update({"epoch": 1, "loss": 1.0}, {"w": np.ones(2)})
    return early


def stopped(early):
    early.update({"epoch": 2, "loss": 2.0}, {"w": np.zeros(2)})
    return early.state_dict()


def history():
    rows = train.History()
    rows.append({"epoch": 1, "loss": 0.5})
    return rows


def grown(rows):
    rows.append({"epoch": 2, "loss": 0.25})
    return type(rows), dict(rows), rows.epochs


def normalizer(make):
    fitted = make().fit(np.abs(noise(6, 3, 2)) + 1)
    x = np.abs(noise(2, 3, 2, seed=1)) / 2
    return Example(type(fitted).__name__, lambda: fitted, lambda sent: (sent(x), sent.inverse(sent(x))))


TRAINING = (
    Example("minibatches", begun_batches, lambda batches: [list(batches), list(batches)]),
    Example("split", lambda: data.Split(*(noise(2, 2, seed=i) for i in range(4)))),
    Example(
        "compose", lambda: data.Compose(data.flip, partial(data.shift, pixels=2)), lambda f: f(noise(4, 1, 6, 6), rng=0)
    ),
    *map(normalizer, (data.ZScore, data.MinMax, data.Log, data.Exp, data.Arctan)),
    Example("trainer", interrupted, trained_on),
    Example("early_stopping", stopping, stopped),
    Example("history", history, grown),
    Example(
        "error",
        lambda: train.NonFiniteError("no", layer="0", direction="forward"),
        lambda error: (type(error), str(error), error.layer, error.direction),
    ),
    Example(
        "nothing_counts",
        lambda: losses.NothingCountsError("no", 0.5),
        lambda error: (type(error), str(error), error.total),
    ),
    Example("mean", lambda: train.Mean(0.75, 4.0), lambda mean: (type(mean), mean, mean.weight)),
)


# ---------------------------------------------------------------- results


def conv_gradients():
    x, w = noise(1, 2, 5, 5), noise(2, 2, 3, 3)
    return convkit.conv2d_backward(convkit.conv2d(x, w), x, w)


def deform_gradients():
    x, offset, w = noise(1, 2, 5, 5), noise(1, 18, 3, 3), noise(2, 2, 3, 3)
    return convkit.deform_conv2d_backward(noise(1, 2, 3, 3), x, offset, w)


def grid_gradients():
    return convkit.grid_sample_backward(noise(1, 2, 3, 3), noise(1, 2, 5, 5), noise(1, 3, 3, 2))


def penalty():
    return losses.l2_penalty(nn.Linear(3, 2, rng=0), 0.1)


def penalised(sent):
    sent.backward()
    for parameter, _ in sent.grads:
        parameter.grad *= 2
    return sent.value, [(parameter.data, parameter.grad) for parameter, _ in sent.grads]


def learned(parameter):
    parameter.accumulate(noise(2, 3))
    parameter.grad *= 2
    parameter.data += parameter.grad
    return parameter.data, parameter.grad, parameter.trainable


def operator():
    return analysis.conv_operator("conv2d", (1, 4, 4), noise(1, 1, 3, 3))


def conv():
    return nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU())


RESULTS = (
    Example("conv_grads", conv_gradients),
    Example("deform_grads", deform_gradients),
    Example("grid_grads", grid_gradients),
    Example("verification", lambda: convkit.Verification((_verify.Check("conv2d", "1x1", "avx2", 4, 0.5, ()),))),
    Example("peak", lambda: convkit.Peak("generic", {"float32": {1: 2.0}}, 3.0)),
    Example(
        "explanation", lambda: convkit.explain("conv1d", (1, 1, 8), (1, 1, 3)), lambda sent: (sent.as_dict(), str(sent))
    ),
    Example("buffer", lambda: nn.Buffer(noise(2, 3)), lambda buffer: np.add(buffer.data, 1, out=buffer.data)),
    Example("parameter", lambda: nn.Parameter(noise(2, 3)), learned),
    Example("window", lambda: nn.Window.moving(3)),
    Example("keys", lambda: nn.IncompatibleKeys(["a"], [])),
    Example("loss", lambda: losses.l2(noise(4), noise(4, seed=1))),
    Example("penalty", penalty, penalised),
    Example("operator", operator, lambda sent: (sent @ noise(16), sent.T @ noise(4), sent @ noise(16, 2))),
    Example("matrix", lambda: analysis.conv_matrix("conv2d", (1, 4, 4), noise(1, 1, 3, 3)), lambda m: m @ noise(16)),
    Example("fields", lambda: analysis.receptive_field(conv(), (1, 1, 8, 8)), lambda sent: (type(sent), str(sent))),
    Example("effective", lambda: analysis.effective_receptive_field(conv(), (1, 1, 8, 8))),
    Example("report", lambda: analysis.check_gradients(conv(), noise(1, 1, 4, 4)), lambda sent: (sent.ok, str(sent))),
    Example("summary", lambda: analysis.summary(conv(), (1, 1, 8, 8)), lambda sent: (sent.rows, str(sent))),
)


# ---------------------------------------------------------------- networks


def network(planned=True):
    """A network of everything that has its own form in a plan; or one that its first call will make."""
    model = nn.Sequential(
        small_training.network(np.random.default_rng(0))[:3],
        nn.Residual(nn.Conv2d(6, 6, 3, padding=1, rng=1)),
        nn.GroupNorm(2, 6),
        nn.Flatten(),
        nn.Linear(150, 3, rng=2),
    ).eval()
    return model.prepare((2, 1, 5, 5) if planned else None)


def of_onnx(operator="Relu", kind="float"):
    from onnx import parser

    text = f'<ir_version: 9, opset_import: ["" : 21]> g ({kind}[n] x) => ({kind}[n] y) {{ y = {operator}(x) }}'
    return parser.parse_model(text)


def by_onnx():
    """What only onnx's own evaluator runs."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return onnx_backend.load(of_onnx("StringNormalizer", "string"), fallback=True)


def unsupported():
    try:
        onnx_backend.load(of_onnx("StringNormalizer", "string"))
    except onnx_backend.UnsupportedError as error:
        return error
    raise AssertionError("onnx_backend has it")


def on_images(run):
    other = (1, 1, 5, 5) if isinstance(run, graph.Network) else (1, 1, 7, 4)
    return run(noise(2, 1, 5, 5)), run(noise(*other))


NETWORKS = (
    Example("network", network, on_images),
    Example("network_to_be", lambda: network(False), on_images),
    Example("graph", lambda: network().graph, lambda graph_: (repr(graph_), on_images(graph.Network(graph_)))),
    Example("info", lambda: graph.Info((2, 3), np.dtype(np.float32))),
    Example("onnx_prepared", lambda: onnx_backend.prepare(of_onnx()), lambda model: model.run([noise(4)])),
    Example("onnx_reference", by_onnx, lambda model: (model(np.array(["a"], object)), repr(model))),
    Example("unsupported", unsupported, lambda error: (type(error), str(error), vars(error))),
    Example("ranks", lambda: distributed.Ranks(5), lambda ranks: ranks.fold([2, 3, 5, 7, 11], lambda a, b: a - b)),
    Example("prepared", lambda: convkit.prepare_conv2d(noise(6, 1, 3, 3), padding=1, activation="relu"), on_images),
    Example("prepared_transpose", lambda: convkit.prepare_conv_transpose2d(noise(1, 4, 3, 3), stride=2), on_images),
)

LAYERS = (*map(layer, TWINS + ALONE),)
EXAMPLES = (*LAYERS, *MODELS, *OPTIMIZERS, *TRAINING, *RESULTS, *NETWORKS)
