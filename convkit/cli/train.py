"""`convkit train`: a network learns to tell classes of images apart, the digits or a folder of one's own.

Every fifth image is held out and looked at once, at the end. Ctrl-C saves; `--resume` goes on, to the bits of a run
that was never stopped. Under mpiexec, `--shards S` shares every batch out among the ranks.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import sys
import time
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import _extras, data, distributed, nn
from .._files import replacing
from .._words import counted, dimensions, percent
from ..ops.resize import interpolate
from ..train import NonFiniteError, Trainer
from ..train.progress import lines
from ._arguments import INTERRUPTED, failed, reading, to_fill, whole, with_notes
from ._recipes import CHOICES, NORMALIZERS, OPTIMIZERS, Settings, trainer
from .time import MODELS

CHECKPOINT, SETTINGS = "checkpoint.safetensors", "settings.json"
NETWORK, CLASSES = "network.onnx", "classes.txt"
SET = "digits or a folder with a subfolder of images for each class"


class Images(NamedTuple):
    """The two parts of a set, arrays or what stands for them, and what they are."""

    x_train: Any
    y_train: np.ndarray
    x_test: Any
    y_test: np.ndarray
    classes: list[str]
    normalizer: data.Normalizer | None


def load(settings: Settings) -> Images:
    """Read and split the images; normalisation is fitted on those to learn from."""
    if settings.data == "digits":
        split, classes = _resized(data.digits_split(), settings.size), [str(digit) for digit in range(10)]
    else:
        with reading("--data", SET, settings.data):
            folder = data.ImageFolder(settings.data, settings.size or None, "L" if settings.grey else "RGB")
        held_out, classes = np.arange(len(folder)) % 5 == 4, folder.classes
        if not held_out.any():
            raise ValueError(f"--data must hold at least 5 images, got {len(folder)} in {settings.data}")
        learned, tested = folder.subset(~held_out), folder.subset(held_out)
        split = data.Split(learned, learned.labels, tested, tested.labels)
    make = NORMALIZERS[settings.normalize]
    normalizer = None if make is None else make().fit(split.x_train)
    x_train, x_test = (_normalized(x, normalizer) for x in (split.x_train, split.x_test))
    return Images(x_train, split.y_train, x_test, split.y_test, classes, normalizer)


def _resized(split: data.Split, size: int) -> data.Split:
    """The digits at so many pixels, square; as they are for 0."""
    if not size:
        return split
    try:
        x_train, x_test = (interpolate(x, size, mode="bilinear", antialias=True) for x in (split.x_train, split.x_test))
    except (OverflowError, MemoryError) as error:
        raise ValueError(f"--size must give images that fit memory, got {size}: {error}") from error
    return split._replace(x_train=x_train, x_test=x_test)


def _normalized(x: Any, normalizer: data.Normalizer | None) -> Any:
    """Images after normalisation; those of a folder when they are read."""
    if normalizer is None:
        return x
    if isinstance(x, data.ImageFolder):
        x.transform = normalizer
        return x
    return normalizer(x)


def _check_size(model: nn.Module, image: np.ndarray, settings: Settings) -> None:
    """Refuse images that the network cannot take, before anything is written."""
    try:
        model.predict(image)
    except ValueError as error:
        usual = MODELS.get(settings.model, (0, 0))[1]
        known = f", such as {usual}, its usual one" if usual else ""
        expected = f"--size must be one that {settings.model} takes{known}"
        raise ValueError(f"{expected}; got images of {dimensions(image.shape[1:])}: {with_notes(error)}") from error


def _check_shards(settings: Settings, comm: Any) -> None:
    """Refuse ranks that would have no shard."""
    if comm is not None and (settings.shards or 0) < comm.size:
        got = "none" if settings.shards is None else settings.shards
        raise ValueError(
            f"--shards must be at least the number of ranks, such as --shards {comm.size} for {comm.size} of them, for "
            f"results follow from it, got {got}"
        )


def _check_classes(classes: list[str]) -> None:
    """Refuse names that cannot be lines of a file."""
    for name in classes:
        if name.splitlines() != [name] or name != name.encode("utf-8", "replace").decode():
            raise ValueError(f"--data must have classes named by a line of UTF-8 each, for --onnx, got {name!r}")


def fit(trained: Trainer, images: Images, settings: Settings, checkpoint: Path) -> None:
    """Train; with `--validate` on four fifths of the images to learn from, measured on the fifth after every epoch."""
    x, y, validation = images.x_train, images.y_train, None
    if settings.validate:
        kept = np.arange(len(y)) % 5 == 4
        first, second = (x.subset(part) if isinstance(x, data.ImageFolder) else x[part] for part in (~kept, kept))
        x, validation, y = first, (second, y[kept]), y[~kept]
    trained.fit(
        x, y, epochs=settings.epochs, batch_size=settings.batch_size, validation=validation, checkpoint=checkpoint,
        callbacks=lines(settings.epochs),
    )  # fmt: skip


def train(settings: Settings, out: Path, resume: bool, comm: Any = None, onnx: bool = False) -> None:
    """Train, test once, and write everything; among ranks, the first writes."""
    _check_shards(settings, comm)
    images = load(settings)
    learned, held_out = len(images.y_train), len(images.y_test)
    image = images.x_train[:1].shape[1:]
    print(f"{learned + held_out:,} images {dimensions(image)} in {len(images.classes)} classes: ", end="")
    print(f"{learned:,} to learn from, {held_out:,} held out")
    samples = learned - learned // 5 if settings.validate else learned
    trained = trainer(settings, image, len(images.classes), samples, comm)
    _check_size(trained.model, images.x_train[:1], settings)
    first = trained.ranks.rank == 0
    parameters = sum(parameter.size for parameter in trained.model.parameters())
    print(f"{settings.model}, {parameters:,} parameters; {settings.loss}; {settings.optimizer} at ", end="")
    print(f"{settings.lr:g}, {settings.schedule}; seed {settings.seed}", flush=True)
    if resume:
        trained.load(out / CHECKPOINT)
        if settings.epochs < trained.epoch:
            raise ValueError(f"--epochs must be at least the {trained.epoch} trained already, got {settings.epochs}")
        print(f"going on after step {trained.step}", flush=True)
    if onnx:
        _check_classes(images.classes)
    if first:
        out.mkdir(parents=True, exist_ok=True)
        for name in (NETWORK, CLASSES):  # of a training before this one
            (out / name).unlink(missing_ok=True)
        write_settings(out / SETTINGS, settings, images)
    begin = time.perf_counter()
    try:
        fit(trained, images, settings, out / CHECKPOINT)
    except KeyboardInterrupt as stop:
        if first and stop.args:  # else a second Ctrl-C did not wait for it
            print(f"{stop}; convkit train --resume --out {out} goes on", file=sys.stderr)
        raise
    seconds = time.perf_counter() - begin
    measured = trained.evaluate(images.x_test, images.y_test, together=True)
    wrong = round((1 - measured["accuracy"]) * held_out)
    print(f"test accuracy: {percent(measured['accuracy'], 1)}")
    times = counted(settings.epochs, "epoch")
    print(f"{wrong} of {held_out} held-out images wrong, {times}; {seconds:.1f} s of training")
    if not first:
        return
    trained.history.to_csv(out / "history.csv")
    trained.history.plot(out / "curves.png")
    nn.save_state(trained.model.state_dict(), out / "weights.safetensors")
    print(f"written to {out}: curves.png, history.csv, weights.safetensors, {CHECKPOINT}, {SETTINGS}")
    if onnx:
        write_network(out, trained.model, images, image)


class _Normalized(nn.ByElement):
    """What images are before a network sees them: a layer of the network that is written, which never learns."""

    def __init__(self, normalizer: data.Normalizer) -> None:
        self.offset, self.scale = (
            array.astype(np.float32).reshape(1, -1, 1, 1) for array in (normalizer.offset, normalizer.scale)
        )

    def run(self, x: Any) -> Any:
        return (x - self.offset) / self.scale, lambda grad, need_input: grad / self.scale


def write_network(out: Path, model: nn.Module, images: Images, image: tuple[int, ...]) -> None:
    """Write the network, normalisation before it, and its classes, as `convkit run` and other engines take them."""
    from .. import onnx_backend

    complete = model if images.normalizer is None else nn.Sequential(_Normalized(images.normalizer), model)
    onnx_backend.export(complete, out / NETWORK, (1, *image))
    with replacing(out / CLASSES) as file:
        file.write("".join(f"{name}\n" for name in images.classes).encode())
    network, classes = (shlex.quote(str(out / name)) for name in (NETWORK, CLASSES))
    print(f"and {NETWORK}, {CLASSES}: convkit run {network} --labels {classes} --crop --input PICTURE")


def write_settings(path: Path, settings: Settings, images: Images) -> None:
    """Write what the training follows from, and what its weights need to be of use: classes and normalisation."""
    about = {"settings": asdict(settings), "classes": images.classes}
    if images.normalizer is not None:
        about |= {"offset": images.normalizer.offset.tolist(), "scale": images.normalizer.scale.tolist()}
    with replacing(path) as file:
        file.write((json.dumps(about, indent=1) + "\n").encode())


def read_settings(path: Path, given: dict[str, Any]) -> Settings:
    """The settings of the training to go on with; only the number of epochs may be another one."""
    for needed in (path, path.with_name(CHECKPOINT)):
        if not needed.exists():
            expected = "--out must be the folder of a training to resume"
            raise ValueError(f"{expected}, got {path.parent}: it has no {needed.name}")
    try:
        stored = asdict(Settings(**json.loads(path.read_text())["settings"]))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} must be what convkit train wrote: {error}") from error
    for name, value in given.items():
        if name != "epochs" and value != stored[name]:
            before = "left out" if stored[name] is None else repr(stored[name])
            raise ValueError(f"--{name.replace('_', '-')} must be {before} as before, to resume, got {value!r}")
    return Settings(**stored | given)


def _set(text: str) -> str:
    if text != Settings.data and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"must be {SET}, got {text!r}")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's options to `parser`."""
    usual = Settings()

    def option(name: str, text: str, **more: Any) -> None:
        # Absent from the arguments unless given: a training that is resumed has its own defaults.
        more |= {"choices": tuple(CHOICES[name])} if name in CHOICES else {}
        parser.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=text, **more)

    option("data", f"{SET} (default: {usual.data})", type=_set)
    option(
        "size", "bring the images to so many pixels, square (default: as they are: the digits have 8)", type=whole(1)
    )
    option("grey", "read a folder's images as grey ones, as the digits are", action="store_true")
    option("normalize", "fitted on the images to learn from (default: none, values from 0 to 1)")
    option("augment", f"what is done to every image each time it comes by (default: {usual.augment})")
    option("validate", "measure after every epoch on a fifth of the images to learn from", action="store_true")
    option("model", f"default: {usual.model}, four convolutions")
    option("loss", f"default: {usual.loss}")
    option("optimizer", f"default: {usual.optimizer}")
    option("schedule", f"of the learning rate (default: {usual.schedule})")
    option("warmup", f"epochs in which the learning rate rises (default: {usual.warmup})", type=whole(0))
    option("lr", "learning rate (default: the optimizer's usual one)", type=float)
    option("weight_decay", f"default: {usual.weight_decay}", type=float)
    option("epochs", f"times every image is seen, in all (default: {usual.epochs})", type=whole(1))
    option("batch_size", f"default: {usual.batch_size}", type=whole(1))
    option("seed", f"of the weights, the order and the augmentation (default: {usual.seed})", type=whole(0, math.inf))
    option(
        "shards", "cut every batch into so many, which ranks of MPI share out (default: it stays whole)", type=whole(1)
    )
    parser.add_argument(
        "--out", type=to_fill, default=Path("convkit-train"), metavar="DIR", help="default: convkit-train"
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help=f"write {NETWORK} and {CLASSES}, too, which convkit run and other engines take (the extra [onnx])",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--resume", action="store_true", help="go on with the training in DIR, with its settings")
    how.add_argument("--overwrite", action="store_true", help="begin anew although DIR holds a training")


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    given = {name: value for name, value in vars(args).items() if name in asdict(Settings())}
    for module in ("matplotlib", "safetensors.numpy"):
        _extras.need(module, "train")  # better to stop now than after the training
    if args.onnx:
        _extras.need("onnx", "onnx")
    comm = distributed.world() if distributed.launched() else None
    if comm is not None and comm.size == 1:
        comm = None
    first = comm is None or comm.rank == 0
    with ExitStack() as quiet:
        if not first:
            quiet.enter_context(redirect_stdout(quiet.enter_context(open(os.devnull, "w"))))
        try:
            train(_settings(args, given, first), args.out, args.resume, comm, args.onnx)
        except (ValueError, OverflowError, MemoryError, OSError, NonFiniteError) as error:
            status = failed("train", error, 2)
            if comm is not None:
                comm.Abort(status)  # the other ranks would wait for this one
            return status
        except KeyboardInterrupt as stop:
            if comm is not None and not stop.args:  # with words all have stopped after the same step
                comm.Abort(INTERRUPTED)
            raise
    return 0


def _settings(args: argparse.Namespace, given: dict[str, Any], first: bool) -> Settings:
    """Those of a new training, or of the one to go on with."""
    if args.resume:
        return read_settings(args.out / SETTINGS, given)
    usual_rate = OPTIMIZERS[given.get("optimizer", Settings.optimizer)][1]
    settings = Settings(**{"lr": usual_rate} | given)
    if first and not args.overwrite and (args.out / CHECKPOINT).exists():
        raise ValueError(f"{args.out} holds a training already: --resume goes on, --overwrite begins anew")
    return settings
