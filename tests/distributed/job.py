"""What the tests start as ranks: a short training that can be made to fail on one of them at a step of one's choosing.

    mpiexec -n 4 python job.py --checkpoint state --at 2 9 kill

Every rank prints the digest of all that it ends with. Without mpiexec it runs in one process, without MPI.
"""

import argparse
import os
import resource
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # whatever starts this, the tests' own modules are beside it

import convkit
from convkit import distributed
from convkit.train import checkpoint
from small_training import fit, samples, trainer


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_the_next_save():
    """Die when the new checkpoint has been written and not yet been given its name."""
    os.replace = lambda *names: kill()


def fail():
    raise RuntimeError("no such thing")


def leave():
    sys.exit("no such file")


def leave_and_be_held():
    """As argparse leaves, where a program tries one thing and then another."""
    try:
        sys.exit(2)
    except SystemExit:
        pass


def interrupt():
    signal.raise_signal(signal.SIGINT)


def fill_the_disk():
    """Let no file grow to more than a kilobyte."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


POSSIBLE = (kill, kill_in_the_next_save, fail, leave, leave_and_be_held, interrupt, fill_the_disk)
DEEDS = {deed.__name__: deed for deed in POSSIBLE}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--at", nargs=3, metavar=("RANK", "STEP", "DEED"), default=("-1", "-1", "fail"))
    parser.add_argument("--isa", nargs=2, metavar=("RANK", "NAME"), default=("-1", ""))
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
    comm = distributed.world() if distributed.launched() else None
    rank, (unlucky, when) = 0 if comm is None else comm.rank, map(int, args.at[:2])
    if int(args.isa[0]) == rank:
        convkit.set_isa(args.isa[1])
    trained = trainer(shards=4, comm=comm)
    schedule = trained.schedule

    def deciding(step):
        if (rank, step) == (unlucky, when):
            DEEDS[args.at[2]]()
        return schedule(step)

    trained.schedule = deciding
    if rank == unlucky and when < 0:
        DEEDS[args.at[2]]()
    if args.resume:
        trained.load(args.checkpoint)
    fit(trained, validation=samples(), checkpoint=args.checkpoint, checkpoint_steps=4)
    print(f"[{checkpoint.digest(trained.state_dict())} {convkit.get_num_threads()}]\n", end="", flush=True)


if __name__ == "__main__":
    main()
