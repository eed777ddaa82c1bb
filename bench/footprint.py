"""What the layer tier costs besides arithmetic: `python bench/footprint.py`. Page faults and memory are Linux's.

faults     minor page faults of a step of training, after the third (a fault or two are the interpreter's own)
evaluate   `Trainer.evaluate` of ResNet-18, batch 256 at 64x64: peak beyond the input, over the largest activation
inference  VGG-16 at 224x224, batch 1, under `nn.inference()`: peak beyond the model
import     of convkit beyond NumPy's, and the modules that it loads besides
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from training import NETWORKS, ours

from convkit import models, nn, optim, train

MIB = 2**20


def status(field: str) -> int:
    """Bytes, as the kernel has them for this process."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def peak_of(call: Callable[[], object]) -> int:
    """By how many bytes the call raises the peak of resident memory."""
    with open("/proc/self/clear_refs", "w") as control:
        control.write("5")
    before = status("VmRSS")
    call()
    return status("VmHWM") - before


def faults(name: str) -> str:
    make, shape = NETWORKS[name]
    step = ours(make(), shape)
    for _ in range(3):
        step()
    counts = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        step()
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return f"faults     {name}: {counts} in ten steps"


def evaluate() -> str:
    model = models.resnet18(10, rng=0)
    x, y = np.zeros((256, 3, 64, 64), np.float32), np.zeros(256, np.int64)
    trainer = train.Trainer(model, optim.SGD(model.parameters(), 0.1), rng=0)
    trainer.evaluate(x[:2], y[:2])
    largest = 256 * 64 * 32 * 32 * 4
    peak = peak_of(lambda: trainer.evaluate(x, y, batch_size=256))
    return f"evaluate   ResNet-18, 256x3x64x64: {peak / MIB:.0f} MiB, {peak / largest:.2f} times the largest activation"


def inference() -> str:
    model, x = models.vgg16(rng=0).eval(), np.zeros((1, 3, 224, 224), np.float32)
    with nn.inference():
        peak = peak_of(lambda: model(x))
    return f"inference  VGG-16, 1x3x224x224: {peak / MIB:.1f} MiB beyond the model"


def imports(rounds: int = 15) -> str:
    seconds = {}
    for name in ("numpy", "convkit") * rounds:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-P", "-c", f"import {name}"], check=True)
        seconds[name] = min(seconds.get(name, 99.0), time.perf_counter() - start)
    beyond = seconds["convkit"] - seconds["numpy"]
    return f"import     {beyond:.3f} s beyond NumPy's {seconds['numpy']:.3f}"


ROWS = {
    **{name: (lambda name=name: faults(name)) for name in NETWORKS},
    "evaluate": evaluate, "inference": inference, "import": imports,
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", nargs="?", choices=ROWS, help="this one alone")
    if (chosen := parser.parse_args().row) is not None:
        print(ROWS[chosen](), flush=True)
    else:  # each in a process of its own, whose memory is its own
        for row in ROWS:
            subprocess.run([sys.executable, __file__, row], check=True)
