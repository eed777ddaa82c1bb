"""`convkit time MODEL`: how long a whole network takes, prepared for inference."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

import convkit

from .. import models
from .._probe import UNSTEADY, Probe
from .._timing import bursts_of
from .._words import dimensions, rounded
from ._arguments import REFUSALS, add_threads, failed, whole

# The models that take pictures, and the size and channels that each is known for.
MODELS = {
    "alexnet": (3, 224), "lenet5": (1, 32), "mobilenet_v2": (3, 224), "resnet18": (3, 224), "resnet50": (3, 224),
    "unet": (1, 256), "vgg16": (3, 224),
}  # fmt: skip
_BURST_SECONDS = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add = parser.add_argument
    add("model", choices=sorted([*MODELS, "dcgan_generator"]), help="a model of convkit.models, with random weights")
    add("--size", type=whole(1), metavar="S", help="height and width (default: what the model is known for)")
    add("--batch", type=whole(1), default=1, metavar="N", help="images at a time (default: 1)")
    add_threads(parser)
    add("--explain", action="store_true", help="show the time of every node, what was fused and what was chosen")
    add("--json", action="store_true", help="print the figures as JSON")


def input_shape(name: str, size: int | None, batch: int) -> tuple[int, ...]:
    """The batch that a model takes."""
    if name == "dcgan_generator":
        if size is not None:
            raise ValueError(f"--size must be left out for {name}, which takes no pictures, got {size}")
        return batch, 100, 1, 1
    channels, usual = MODELS[name]
    return batch, channels, size or usual, size or usual


def _deviates(shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.random.default_rng(0).standard_normal(shape, np.float32)
    except (MemoryError, ValueError) as error:  # ValueError: more than an address can count
        raise ValueError(f"--size and --batch must give images that fit memory, got {shape}") from error


def run(args: argparse.Namespace) -> int:
    """Time one network."""
    try:
        shape = input_shape(args.model, args.size, args.batch)
        x = _deviates(shape)
        with convkit.threads(args.threads or convkit.get_num_threads()):
            begun = time.perf_counter()
            network = getattr(models, args.model)(rng=0).eval().prepare(shape)
            network(x)
            ready = time.perf_counter() - begun
            probe = Probe("float32", convkit.get_num_threads())
            bursts = bursts_of(lambda: network(x), probe, _BURST_SECONDS)
            probe.renew()
            seconds, unsteady = probe.best_of(bursts).seconds, probe.unsteady(bursts)
            explained = network.explain(x, measure=args.explain)
    except REFUSALS as error:
        return failed("time", error, 1)
    if args.json:
        figures = explained.as_dict() | {"model": args.model, "input": shape, "seconds": seconds, "ready": ready}
        figures["unsteady"] = unsteady or explained.unsteady
        print(json.dumps(figures, indent=2))
        return 0
    if args.explain:
        print(explained, end="\n\n")
    print(
        f"{args.model}, {dimensions(shape)}: {rounded(seconds * 1e3)} ms a call, {shape[0] / seconds:,.1f} images/s, "
        f"{explained.flops / seconds / 1e9:.0f} GFLOP/s; model, plan and first run took {rounded(ready)} s"
    )
    if unsteady:
        print(UNSTEADY)
    return 0
