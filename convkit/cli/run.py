"""`convkit run MODEL.onnx`: what a network of someone else's says of an array or a picture, and how long it takes."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import numpy as np

import convkit

from .._probe import UNSTEADY, Probe
from .._timing import Contender, Race
from .._words import counted, dimensions, rounded
from ..data._picture import fitted, read_picture
from ..graph import Network
from ._arguments import REFUSALS, add_threads, failed, height_and_width, reading, real, several

_SHOWN = 5  # of the largest entries
_FEW_ROUNDS = 2  # of a model that takes long; a time is steady when another repeats it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add = parser.add_argument
    add("model", metavar="MODEL.onnx", help="a model in ONNX's format")
    what = "a .npy file, float64 becoming float32 for a model that takes this, or a picture, for each of its inputs"
    what += " (default: random numbers)"
    add("--input", action="append", metavar="[NAME=]FILE", help=what)
    size = "pictures are scaled to it, and random numbers have it (default: what the model takes)"
    add("--size", type=height_and_width, metavar="HxW", help=size)
    add(
        "--crop",
        action="store_true",
        help="cut pictures to the size's proportions, about the middle, before they are scaled",
    )
    add("--mean", type=several(real(), "0.5,0.4,0.4"), metavar="M[,M,M]", help="subtracted from pixels, 0 to 1")
    add("--std", type=several(real(zero=False), "0.2,0.2,0.3"), metavar="S[,S,S]", help="they are then divided by it")
    add("--bgr", action="store_true", help="the model takes blue first")
    add("--labels", type=Path, metavar="FILE", help="a file with the name of a class in each line")
    add_threads(parser)
    add("--fallback", action="store_true", help="let onnx's reference evaluator run what convkit cannot")
    add("--time", action="store_true", help="time it, beside ONNX Runtime if that is installed")
    add("--explain", action="store_true", help="show the time of every node, what was fused and what was chosen")


def run(args: argparse.Namespace) -> int:
    """Run one model."""
    try:
        with convkit.threads(args.threads or convkit.get_num_threads()):
            return _run(args)
    except (*REFUSALS, OSError, RuntimeError) as error:
        return failed("run", error, 1)


def _run(args: argparse.Namespace) -> int:
    """Load, run, and print what is asked for."""
    from .. import onnx_backend

    network = onnx_backend.load(args.model, fallback=args.fallback)
    with reading("--labels", "a file of text in UTF-8", args.labels):
        labels = args.labels.read_text(encoding="utf-8").splitlines() if args.labels else []
    inputs = _inputs(args, network)
    found = network(**inputs)
    results = found if isinstance(found, tuple) else (found,)
    for name, y in zip(network.outputs, results, strict=True):
        print(f"{name}: {y.dtype} {y.shape}")
        for line in _largest(y, labels):
            print(f"  {line}")
    if args.labels and not any(_named(y, labels) for y in results):
        words = f"--labels has {counted(len(labels), 'name')}, and no output as many classes: none is shown"
        print(f"convkit run: {words}", file=sys.stderr)
    if args.explain and isinstance(network, Network):
        print(network.explain(**inputs), end="\n\n")
    if args.time:
        _time(args.model, network, inputs)
    return 0


# ---------------------------------------------------------------- in


def _inputs(args: argparse.Namespace, network) -> dict[str, np.ndarray]:
    """An array for each input, in the model's dtypes."""
    given: dict[str, str] = {}
    for text in args.input or ():
        name, equals, path = text.partition("=")
        if not equals or name not in network.inputs:
            name, path = next((n for n in network.inputs if n not in given), ""), text
        if not name:
            raise ValueError(f"the model takes {len(network.inputs)} inputs, {', '.join(network.inputs)}; got more")
        given[name] = path
    declared = network.graph.declared if isinstance(network, Network) else {}
    for option in ("crop", "mean", "std", "bgr"):
        if getattr(args, option) and all(path.endswith(".npy") for path in given.values()):
            raise ValueError(f"--{option} is for pictures, and no --input is one")
    arrays = {}
    for name in network.inputs:
        dtype, sizes = declared.get(name, (np.dtype(np.float32), None))
        path = given.get(name)
        if path is None:
            arrays[name] = _deviates(name, dtype, sizes, args.size)
            print(f"{name}: {arrays[name].dtype} {arrays[name].shape}, random numbers; --input FILE gives it others")
        elif path.endswith(".npy"):
            with reading("--input", "a .npy file of numbers", path):
                array = np.load(path, allow_pickle=False)
            usual = name in declared and (array.dtype, dtype) == (np.float64, np.float32)  # NumPy's and the model's
            arrays[name] = array.astype(dtype) if usual else array
        else:
            arrays[name] = _picture(path, args, sizes).astype(dtype)
    images = [array.shape[1:] for array in arrays.values() if array.ndim == 4]
    if args.size and not any(args.size in (shape[:2], shape[1:]) for shape in images):
        raise ValueError(f"--size must be that of an input, got {dimensions(args.size)}: it scales pictures alone")
    return arrays


def _deviates(name: str, dtype: np.dtype, sizes, size: tuple[int, int] | None) -> np.ndarray:
    if sizes is None:
        raise ValueError(f"input {name} has no declared shape; --input {name}=FILE.npy gives it one")
    shape = list(sizes)
    if size is not None and len(shape) == 4:
        places = (1, 2) if shape[3] in (1, 3) and shape[1] not in (1, 3) else (2, 3)
        for axis, length in zip(places, size, strict=True):
            shape[axis] = shape[axis] or length
    if any(length is None for length in shape[1:]):
        wanted = ", ".join("any" if length is None else str(length) for length in sizes)
        raise ValueError(f"input {name} has shape ({wanted}); --size or --input FILE.npy says which")
    shape = [1 if length is None else length for length in shape]
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def _picture(path: str, args: argparse.Namespace, sizes) -> np.ndarray:
    """A picture as a batch of one, in the order of axes that the declared sizes show."""
    last = sizes is not None and len(sizes) == 4 and sizes[3] in (1, 3) and sizes[1] not in (1, 3)
    channels, *own = (3, None, None) if sizes is None or len(sizes) != 4 else (
        (sizes[3], *sizes[1:3]) if last else sizes[1:]
    )  # fmt: skip
    with reading("--input", "a .npy file or a picture that Pillow can read", path):
        image = read_picture(path, "L" if channels == 1 else "RGB")
    height, width = args.size or (own[0] or image.height, own[1] or image.width)
    try:
        pixels = np.asarray(fitted(image, (height, width), args.crop), np.float32) / np.float32(255)
    except (MemoryError, ValueError, OverflowError) as error:
        raise ValueError(f"--size must give a picture that fits memory, got {height}x{width}") from error
    pixels = pixels.reshape(height, width, -1)
    mean, std = args.mean or (0.0,), args.std or (1.0,)
    for option, numbers in (("--mean", mean), ("--std", std)):
        if len(numbers) not in (1, pixels.shape[-1]):
            expected = f"one number, or one for each of the {pixels.shape[-1]} channels"
            raise ValueError(f"{option} must be {expected} of the model's pictures, got {len(numbers)}")
    pixels = (pixels[..., ::-1] if args.bgr else pixels) - np.float32(mean)
    pixels /= np.float32(std)
    return pixels[np.newaxis] if last else pixels.transpose(2, 0, 1)[np.newaxis]


# ---------------------------------------------------------------- out


def _named(y: np.ndarray, labels: list[str]) -> list[int]:
    """The axes with as many entries as there are labels; one label would be that of any batch of one."""
    return [axis for axis, size in enumerate(y.shape) if size == len(labels) > 1]


def _largest(y: np.ndarray, labels: list[str]) -> list[str]:
    """The largest entries, each with its place and, where an axis has as many as there are labels, its label."""
    if y.size == 0 or y.dtype.kind not in "fiu":
        return []
    order = np.argsort(-y.reshape(-1).astype(np.float64), kind="stable")[:_SHOWN]
    named = _named(y, labels)
    lines = []
    for place in zip(*np.unravel_index(order, y.shape), strict=True) if y.ndim else [()]:
        where = ", ".join(map(str, map(int, place)))
        label = f"  {labels[place[named[-1]]]}" if named else ""
        lines.append(f"{y[place]:12.6g} at ({where}){label}")
    return lines


def _time(path: str, network, inputs: dict[str, np.ndarray]) -> None:
    """Time the network, in turn with ONNX Runtime where that is installed, and print both."""
    start = time.perf_counter()
    network(**inputs)
    once = time.perf_counter() - start
    contenders = [Contender("convkit", lambda: network(**inputs))]
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = convkit.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        contenders.append(Contender(f"ONNX Runtime {onnxruntime.__version__}", lambda: session.run(None, inputs)))
    probe = Probe("float32", convkit.get_num_threads())
    race = Race(contenders, probe)
    race.run(_FEW_ROUNDS if once > 1 else None)
    probe.renew()
    ours, *theirs = (probe.best_of(race.bursts[each.name]).seconds for each in contenders)
    print(f"convkit: {rounded(ours * 1e3)} ms")
    for seconds in theirs:
        print(f"{contenders[1].name}: {rounded(seconds * 1e3)} ms; convkit takes {ours / seconds:.2f} of it")
    if any(map(probe.unsteady, race.bursts.values())):
        print(UNSTEADY)
