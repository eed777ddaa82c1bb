"""One rank on all threads against a rank for each: `mpiexec -n 2 python bench/ranks.py --batch 32 --size 224`.

Both train ResNet-18, on the same shards and to the same bits, in turn in one job; while one process does it alone, on
the cores of all, the others sleep. Of each the quickest step counts.
"""

import argparse
import os
import time

import numpy as np

import convkit
from convkit import distributed, models, optim, train


class Contender:
    """A training whose steps are timed from one to the next."""

    def __init__(self, threads, shards, comm, size):
        self.threads, self.starts, self.seconds = threads, [], []
        model = models.resnet18(rng=0)
        optimizer = optim.SGD(model.parameters(), 1e-4, momentum=0.9)
        self.trainer = train.Trainer(model, optimizer, schedule=self.rate, rng=0, shards=shards, comm=comm)
        self.x = np.random.default_rng(0).standard_normal((size[0], 3, size[1], size[1]), np.float32)

    def rate(self, step):
        self.starts.append(time.perf_counter())
        return 1e-4

    def burst(self, steps):
        """Take so many steps, and one that is not counted."""
        self.starts.clear()
        chosen = np.tile(np.arange(len(self.x)), steps + 1)
        with convkit.threads(self.threads):
            options = {"epochs": self.trainer.epoch + 1, "batch_size": len(self.x), "progress": False}
            self.trainer.fit(_Repeated(self.x, len(chosen)), chosen % 10, **options)
        self.seconds.append(min(np.diff(self.starts)))


class _Repeated:
    """A set that is the same few samples again and again."""

    def __init__(self, x, length):
        self.x, self.length = x, length

    def __len__(self):
        return self.length

    def __getitem__(self, chosen):
        return self.x[chosen % len(self.x)]


def main():
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, usual in (("batch", 32), ("size", 224), ("steps", 2), ("bursts", 3)):
        options.add_argument(f"--{name}", type=int, default=usual)
    args = options.parse_args()
    comm = distributed.world()
    size, shards = (args.batch, args.size), comm.size
    ranks = Contender(1, shards, comm, size)
    alone = Contender(comm.size, shards, None, size) if comm.rank == 0 else None
    own = os.sched_getaffinity(0)
    cores = set().union(*comm.allgather(own))  # Open MPI gives each rank one
    for _ in range(args.bursts):
        ranks.burst(args.steps)
        if comm.rank == 0:
            os.sched_setaffinity(0, cores)
            alone.burst(args.steps)
            os.sched_setaffinity(0, own)
            for other in range(1, comm.size):
                comm.send(None, other)
        else:
            while not comm.iprobe(source=0):  # a rank that waits in MPI keeps a core busy
                time.sleep(0.02)
            comm.recv(source=0)
    if comm.rank == 0:
        one, many = min(alone.seconds), min(ranks.seconds)
        same = alone.trainer.history == ranks.trainer.history
        print(f"ResNet-18, {args.batch}x3x{args.size}x{args.size}, {shards} shards, same bits: {same}")
        print(f"1 rank, {comm.size} threads {one:.3f} s a step; {comm.size} ranks, 1 thread {many:.3f} s; ", end="")
        print(f"ratio {one / many:.2f}")


if __name__ == "__main__":
    main()
