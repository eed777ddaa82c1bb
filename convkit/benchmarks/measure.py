"""One layer in one direction, measured: convkit and its peers checked against each other, then timed in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial

import convkit

from .._probe import FEWER, Burst, Probe, Roof, why_above
from .._timing import Contender, Race
from .layers import Layer
from .problem import Problem, Setting, agreeing, ours

Build = Callable[[Problem], Contender]
DISTURBED = 3  # times more that a layer is timed while the machine is not itself


@dataclass
class Row:
    """What was measured of a layer in a direction.

    `winograd` says that Winograd's algorithm runs, which takes down to a quarter of the products that `flops` counts.
    `bursts` are by contender: ``"convkit"`` (with `out=`), ``"fresh"`` (convkit's results allocated by each call), then
    the peers. `refused` says why a peer was not timed. Shares are of `roof`, the probe's when the row was begun.
    """

    layer: Layer
    direction: str
    setting: Setting
    isa: str
    flops: int
    bytes: int
    probe: Probe
    bursts: dict[str, list[Burst]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    winograd: bool = False
    roof: Roof = field(init=False)

    def __post_init__(self) -> None:
        self.roof = self.probe.roof

    def best(self, name: str = "convkit") -> Burst:
        """A contender's fastest burst of those that count, or of all where none does."""
        return self.probe.best_of(self.bursts[name])

    @property
    def peers(self) -> list[str]:
        """The peers that were timed."""
        return [name for name in self.bursts if name not in ("convkit", "fresh")]

    @property
    def steady(self) -> bool:
        """Whether every contender's best burst had the machine for itself, and has been repeated."""
        possible = self.gflops <= (FEWER if self.winograd else 1) * self.probe.best
        return possible and all(map(self.probe.steady, self.bursts.values()))

    @property
    def gflops(self) -> float:
        """convkit's GFLOP/s with `out=`."""
        return self.flops / self.best().seconds / 1e9

    @property
    def share(self) -> float:
        """convkit's share of the multiply-add peak."""
        return self.gflops / self.roof.gflops

    @property
    def roofline(self) -> float:
        """The least time that peak and memory allow, over convkit's; above one where caches spare the memory."""
        return max(self.flops / self.roof.gflops, self.bytes / self.roof.triad) / 1e9 / self.best().seconds

    @property
    def why_above(self) -> str | None:
        """Why it is above the roofline; None where it is not."""
        return why_above(self.winograd, self.share) if self.roofline > 1 else None

    def ratio(self, name: str = "convkit") -> float | None:
        """How many times faster than the fastest peer a way of calling convkit is; None without a peer."""
        fastest = min((self.best(peer).seconds for peer in self.peers), default=None)
        return None if fastest is None else fastest / self.best(name).seconds

    def as_dict(self) -> dict:
        """For JSON: all that was measured, and what follows from it."""
        best = {name: self.best(name) for name in self.bursts}
        return {
            "name": self.layer.name,
            "layer": {key: value for key, value in asdict(self.layer).items() if key != "name"},
            "family": self.layer.family,
            "direction": self.direction,
            **asdict(self.setting),
            "isa": self.isa,
            "flops": self.flops,
            "bytes": self.bytes,
            "winograd": self.winograd,
            "seconds": {name: burst.seconds for name, burst in best.items()},
            "page_faults": {name: burst.faults for name, burst in best.items()},
            "bursts": {name: [asdict(burst) for burst in bursts] for name, bursts in self.bursts.items()},
            "refused": self.refused,
            "gflops": self.gflops,
            "peak_gflops": self.roof.gflops,
            "triad_gbs": self.roof.triad,
            "share": self.share,
            "roofline": self.roofline,
            "ratio": self.ratio(),
            "ratio_fresh": self.ratio("fresh"),
            "steady": self.steady,
        }


def measure(layer: Layer, direction: str, setting: Setting, peers: Mapping[str, Build], probe: Probe) -> Row:
    """Check, then time; again where a peer is faster, and a few times more where the machine was disturbed."""
    problem = Problem(layer, direction, setting)
    row = Row(layer, direction, setting, convkit.isa(), problem.flops, problem.bytes, probe)
    race = _race(problem, peers, row)
    row.winograd = problem.winograd
    race.run()
    if row.peers and min(row.ratio("convkit"), row.ratio("fresh")) < 1:
        race.run()
    for _ in range(DISTURBED):
        if row.steady:
            break
        race.run()
    return row


def measure_again(row: Row, peers: Mapping[str, Build]) -> None:
    """More bursts for a row, of all that it has: at another time, the machine may be in another state."""
    problem = Problem(row.layer, row.direction, row.setting)
    _race(problem, {name: peers[name] for name in row.peers}, row).run()


def _race(problem: Problem, peers: Mapping[str, Build], row: Row) -> Race:
    with convkit.threads(problem.setting.threads):
        contenders = [*ours(problem)]
        wanted = contenders[0].read(contenders[0].call())
        for name, build in peers.items():
            contender, why = agreeing(partial(build, problem), wanted)
            if contender is None:
                row.refused[name] = why
            else:
                contenders.append(contender)
    return Race(contenders, row.probe, row.bursts)
