"""`convkit demo`: a small convolutional network learns to read real handwritten digits; then this machine's throughput.

It is what `convkit train` does with its defaults, which were chosen by cross-validation among the images to learn from.
The held-out digits are looked at once, after the last step of training.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np

import convkit

from .. import _extras, data, nn
from .._probe import UNSTEADY, Probe
from .._words import counted, dimensions, percent
from ..benchmarks.layers import LAYERS
from ..benchmarks.measure import measure
from ..benchmarks.problem import Setting
from ..benchmarks.report import mark, notes
from ..ops._rows import softmax
from ..train.progress import lines
from . import _pictures
from ._arguments import failed, to_fill, whole
from ._recipes import Settings, trainer

KINDS = {
    "standard": "r50_3x3_64",
    "pointwise": "r50_1x1_256_1024",
    "grouped": "resnext_g32",
    "depthwise": "dw3_32_112",
    "dilated": "deeplab_d2",
}


def learn(seed: int, epochs: int, out: Path) -> None:
    """Train, test once, and write pictures and weights."""
    split = data.digits_split()
    learned, held_out = len(split.y_train), len(split.y_test)
    settings = Settings(seed=seed, epochs=epochs)
    trained = trainer(settings, split.x_train.shape[1:], 10, learned)
    model = trained.model
    print(f"{learned + held_out:,} handwritten digits of 8x8 pixels: {learned:,} to learn from, {held_out} held out")
    parameters = sum(parameter.size for parameter in model.parameters())
    print(f"4 convolutions and a linear layer, {parameters:,} parameters, seed {seed}", flush=True)
    begin = time.perf_counter()
    history = trained.fit(
        split.x_train, split.y_train, epochs=epochs, batch_size=settings.batch_size, callbacks=lines(epochs)
    )
    seconds = time.perf_counter() - begin
    probabilities = softmax(model.predict(split.x_test), axis=1)
    guesses = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(guesses != split.y_test)
    accuracy = 1 - len(wrong) / held_out
    print(f"test accuracy: {percent(accuracy, 1)}")
    print(f"{len(wrong)} of {held_out} wrong; trained for {counted(epochs, 'epoch')} in {seconds:.1f} s")
    _pictures.curves(out / "curves.png", history["loss"], history["accuracy"], accuracy, held_out)
    shown = split.x_test[np.argmax(split.y_test == 0)]  # a nought has edges in every direction
    _pictures.filters(
        out / "filters.png", model[0].weight.data[:, 0], shown[0], model[:2].predict(shown[np.newaxis])[0]
    )
    certainties = probabilities[wrong, guesses[wrong]]
    _pictures.mistakes(
        out / "mistakes.png", split.x_test[wrong, 0], split.y_test[wrong], guesses[wrong], certainties, held_out
    )
    nn.save_state(model.state_dict(), out / "weights.safetensors")
    print(f"written to {out}: curves.png, filters.png, mistakes.png, weights.safetensors")


def throughput() -> None:
    """Time one layer of each kind, forward and backward, and print a table."""
    threads = convkit.get_num_threads()
    named = {layer.name: layer for layer in LAYERS}
    layers = {kind: named[name] for kind, name in KINDS.items()}
    pairs = [(layer, direction) for layer in layers.values() for direction in ("forward", "backward")]
    probe = Probe("float32", threads)
    bar = _extras.need("tqdm", "train").tqdm(pairs, desc="timing", leave=False, disable=None)
    if bar.disable:
        print(f"timing {len(layers)} kinds of convolution, forward and backward: half a minute", flush=True)
    rows = [measure(layer, direction, Setting(threads=threads), {}, probe) for layer, direction in bar]
    probe.renew()
    how = f"{convkit.isa()}, float32, {counted(threads, 'thread')}"
    roof = probe.roof
    print(f"this machine: {roof.gflops:.0f} GFLOP/s of multiply-adds ({how}), {roof.triad:.0f} GB/s of memory")
    print(f"{'':<44}{'forward':^29}{'backward':^28}".rstrip())
    columns = f"{'ms':>8}{'GFLOP/s':>10}{'of peak':>10}"
    print(f"{'convolution':<44}{columns} {columns}")
    for (kind, layer), *both in zip(layers.items(), rows[::2], rows[1::2], strict=True):
        size, taps = dimensions(layer.spatial), dimensions(layer.kernel)
        shape = f"{taps}, {layer.c_in} to {layer.c_out}, {size}, batch {layer.n}"
        times = [
            f"{row.best().seconds * 1e3:>8.2f}{row.gflops:>10.0f}{percent(row.share):>10}{mark(row, roof=False)}"
            for row in both
        ]
        unsteady = "" if all(row.steady for row in both) else "  unsteady"
        print(f"{kind:<11}{shape:<33}{''.join(times).rstrip()}{unsteady}")
    print("a multiply-add is 2 FLOPs; backward is all three gradients; the peak is the highest measured during the run")
    for note in notes(rows, roof=False):
        print(note)
    if not all(row.steady for row in rows):
        print(UNSTEADY)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options to `parser`."""
    usual = Settings()
    seed_help = f"of the weights, the order and the augmentation (default: {usual.seed})"
    epochs_help = f"times every image is seen (default: {usual.epochs})"
    parser.add_argument("--seed", type=whole(0, math.inf), default=usual.seed, help=seed_help)
    parser.add_argument("--epochs", type=whole(1), default=usual.epochs, help=epochs_help)
    parser.add_argument(
        "--out", type=to_fill, default=Path("convkit-demo"), metavar="DIR", help="default: convkit-demo"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    for module in ("tqdm", "matplotlib", "safetensors.numpy"):
        _extras.need(module, "train")  # better to stop now than after the training
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return failed("demo", error, 2)
    learn(args.seed, args.epochs, args.out)
    print()
    throughput()
    return 0
