"""Named tasks that are no layers, timed as layers are: the scripts in ``bench/`` say what they are."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import convkit

from .._extras import MissingExtraError
from .._probe import UNSTEADY, Probe
from .._timing import Contender, Race
from .._words import counted
from .peers import add_against
from .problem import agreeing
from .report import mean


@dataclass(frozen=True)
class Task:
    """convkit's call, those of peers by name, and `read`, which makes arrays by name of what any of them returned."""

    name: str
    call: Callable[[], Any]
    peers: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    read: Callable[[Any], dict] = field(default=lambda result: {})


def compare(task: Task, probe: Probe) -> tuple[Race, list[str]]:
    """Time a task; peers that cannot do it, or whose result differs, are left out and named."""
    contenders, wrong = [Contender("convkit", task.call)], []
    with convkit.threads(probe.threads):
        wanted = task.read(task.call())
        for name, call in task.peers.items():
            peer, why = agreeing(partial(Contender, name, call, task.read), wanted)
            if peer is None:
                wrong.append(f"{task.name}: {name} was not timed: {why}")
            else:
                contenders.append(peer)
    race = Race(contenders, probe)
    race.run()
    return race, wrong


def main(
    description: str,
    tasks: Callable[..., Iterable[Task]],
    argv: Sequence[str] | None = None,
    peers: Sequence[str] = ("torch",),
    files: str | None = None,
) -> int:
    """The command line of a script; `tasks` is given the peers that are asked for, and the number of threads.

    `files` says what files are, where there are some to name: their list is the third argument.
    """
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--only", default="*", metavar="PATTERN", help="names of tasks, wildcards allowed")
    add_against(parser, peers)
    parser.add_argument("--threads", type=int, default=convkit.get_num_threads())
    if files is not None:
        parser.add_argument("files", nargs="+", metavar="FILE", help=files)
    args = parser.parse_args(argv)
    given = (args.against, args.threads) if files is None else (args.against, args.threads, args.files)
    print(f"{counted(args.threads, 'thread')}, {convkit.isa()}; ms, and how many times faster convkit is")
    try:
        found = (task for task in tasks(*given) if fnmatch.fnmatch(task.name, args.only))
        _report(found, Probe("float32", args.threads))
    except MissingExtraError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


def _report(tasks: Iterable[Task], probe: Probe) -> None:
    """Time tasks, and print a line on each, and on all against each peer."""
    steady = True
    ratios: dict[str, list[float]] = {}
    for task in tasks:
        race, wrong = compare(task, probe)
        best = {name: probe.best_of(bursts) for name, bursts in race.bursts.items()}
        quiet = all(map(probe.steady, race.bursts.values()))
        steady = steady and quiet
        words = [f"{task.name:<44}{best['convkit'].seconds * 1e3:>9.4g}"]
        for name in [name for name in best if name != "convkit"]:
            ratio = best[name].seconds / best["convkit"].seconds
            ratios.setdefault(name, []).append(ratio)
            words.append(f"   {name} {best[name].seconds * 1e3:.4g} ({ratio:.2f})")
        print("".join(words) + ("" if quiet else "  unsteady"), *wrong, sep="\n", flush=True)
    for name, found in ratios.items():
        print(f"against {name}: geometric mean {mean(found):.2f}, least {min(found):.2f}")
    if not steady:
        print(UNSTEADY)
