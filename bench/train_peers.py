"""A step of training by convkit and by PyTorch, eager, in turn.

    PYTHONPATH=tests python bench/train_peers.py

needs PyTorch and torchvision.

Both run in this process on the same number of threads, burst about, so that a slow episode of the machine meets both; a
library's time is the median of its best burst. Between bursts both sleep, and the first step of a burst is not counted.
PyTorch trains torchvision's network, which is the same one.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from bench_train import NETWORKS, training_step

import convkit
from torchvision_here import torchvision

BURSTS, STEPS, WARM_UP = 12, 6, 3
SETTLE_SECONDS = 0.05
COMPARED = ("resnet18", "mobilenet_v2")


def pytorch_step(name: str) -> Callable[[], object]:
    """The same step by PyTorch: torchvision's network, cross-entropy, its own SGD."""
    shape = NETWORKS[name]
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))
    labels = torch.arange(shape[0]) % 10
    model = getattr(torchvision.models, name)()
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)

    def step():
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def burst(step: Callable[[], object]) -> float:
    """Median seconds of a few steps."""
    times = []
    for _ in range(STEPS):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def compare(name: str) -> dict[str, float]:
    """Seconds of a step by library."""
    steps = {"convkit": training_step(name), "PyTorch": pytorch_step(name)}
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    bursts: dict[str, list[float]] = {library: [] for library in steps}
    for _ in range(BURSTS):
        for library, step in steps.items():
            time.sleep(SETTLE_SECONDS)
            step()
            bursts[library].append(burst(step))
    return {library: min(times) for library, times in bursts.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Time a step of training by convkit and by PyTorch.")
    parser.add_argument("--models", nargs="+", choices=COMPARED, default=["resnet18"])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    convkit.set_num_threads(args.threads)
    print(f"a step of training, {args.threads} threads, and how many times faster convkit is")
    slower = 0
    for name in args.models:
        times = compare(name)
        ratio = times["PyTorch"] / times["convkit"]
        slower += ratio < 1
        shape = "x".join(map(str, NETWORKS[name]))
        each = "   ".join(f"{library} {seconds * 1e3:6.1f} ms" for library, seconds in times.items())
        print(f"{name:<14}{shape:<12}{ratio:6.2f}   {each}", flush=True)
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
