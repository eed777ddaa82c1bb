"""Where a network's time goes: node by node, what was fused, what was chosen, how far below the roofline it lands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import _options
from .._probe import MARKS, UNSTEADY, Burst, Probe, why_above
from .._timing import bursts_of
from .._words import byte_count, counted, dimensions, percent, rounded
from .elements import NONE, operator_of
from .ir import Node
from .placement import ADDING, JOINING
from .plan import Plan
from .table import OPS, bytes_of

_BURST_SECONDS = 0.2


@dataclass(frozen=True)
class NodeReport:
    """One node of a network.

    Attributes
    ----------
    path : str
        Of the layer that it comes from.
    op : str
        The operator, and behind it what was fused into it: ``"Conv+Add+Relu"``.
    output_shape : tuple of int
    how : str
        Algorithm, arrangement and threads of a convolution; "engine", "view", "joined in place" or "NumPy".
    flops, bytes : int
        FLOPs, a multiply-add being two, and bytes of operands and results, each once.
    seconds : float or None
        How long it took, the best of the runs; None of nodes that do nothing, or without ``measure``.
    roofline : float or None
        Share of the larger of flops / peak and bytes / bandwidth in that time. More than 1 where Winograd's algorithm
        needs fewer products than are counted, where data stays in the caches, or where other work was using the
        machine while its peak was measured; a mark says which when it is printed.
    """

    path: str
    op: str
    output_shape: tuple[int, ...]
    how: str
    flops: int
    bytes: int
    seconds: float | None = None
    roofline: float | None = None


@dataclass(frozen=True)
class NetworkReport:
    """What `Network.explain` returns; ``print`` it, or take its fields.

    Attributes
    ----------
    nodes : tuple of NodeReport
        In the order in which they run.
    isa : str
    threads : int
    parts : int
        Into how many the batch is cut, one after the other, so that what lies between layers stays in a cache.
    arena, workspace : int
        Bytes of the memory that intermediate values share, and of the scratch of the largest call.
    flops : int
    seconds : float or None
        Of a whole run, the median of the best burst of runs.
    peak_gflops, triad : float or None
        This machine's peak in GFLOP/s and its memory bandwidth in GB/s.
    unsteady : bool
        Whether other work was using the machine: these moved by more than a tenth, or no two bursts of runs
        without interruptions took the same time.
    """

    nodes: tuple[NodeReport, ...]
    isa: str
    threads: int
    parts: int
    arena: int
    workspace: int
    flops: int
    seconds: float | None = None
    peak_gflops: float | None = None
    triad: float | None = None
    unsteady: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Every field by name."""
        return asdict(self)

    def _why_above(self, node: NodeReport) -> str | None:
        """Why a node is above the roofline; None of one that is not."""
        if not node.seconds or (node.roofline or 0) <= 1:
            return None
        peak = (self.peak_gflops or np.inf) * 1e9
        return why_above(node.how.startswith("winograd"), node.flops / node.seconds / peak)

    def __str__(self) -> str:
        width = max([5, *(len(node.path) for node in self.nodes)])
        ops = max([4, *(len(node.op) for node in self.nodes)])
        lines = [
            f"{'layer':<{width}}  {'node':<{ops}}  {'output':>18}  {'ms':>8}  {'GFLOP/s':>8}  {'roofline':>8}   how"
        ]
        marks: dict[str | None, str] = {None: " "}
        for node in self.nodes:
            shape = dimensions(node.output_shape)
            spent = rate = share = ""
            if node.seconds is not None:
                spent = f"{node.seconds * 1e3:.3f}"
                rate = f"{node.flops / node.seconds / 1e9:.0f}" if node.flops and node.seconds else ""
                share = "" if node.roofline is None else percent(node.roofline)
            if (why := self._why_above(node)) is not None:
                marks[why] = MARKS[why]
            lines.append(
                f"{node.path:<{width}}  {node.op:<{ops}}  {shape:>18}  {spent:>8}  {rate:>8}  {share:>8}{marks[why]}  "
                f"{node.how}"
            )
        lines += [f"{mark} {why}" for why, mark in marks.items() if why]
        lines += [UNSTEADY] * self.unsteady
        lines.append("")
        if self.seconds is not None:
            rate, where = self.flops / self.seconds / 1e9, f"{counted(self.threads, 'thread')} ({self.isa})"
            lines.append(
                f"{rounded(self.seconds * 1e3)} ms a run, the median: {rate:.0f} GFLOP/s on {where}; "
                f"this machine: {self.peak_gflops:.0f} GFLOP/s, {self.triad:.0f} GB/s"
            )
            summed = sum(node.seconds or 0 for node in self.nodes)
            lines.append(f"{rounded(summed * 1e3)} ms: all nodes above, of which each has its best time of all runs")
        parts = f"; in {self.parts} parts of the batch" if self.parts > 1 else ""
        memory = f"arena {byte_count(self.arena)}, scratch {byte_count(self.workspace)}"
        lines.append(f"{self.flops / 1e9:.3g} GFLOP; {memory}{parts}")
        return "\n".join(lines)


def report(
    plan: Plan, times: np.ndarray | None = None, bursts: Sequence[Burst] = (), probe: Probe | None = None
) -> NetworkReport:
    """The report of a plan; `times` are as `measured` has them, `probe` the machine's peak beside the runs."""
    rate = triad = seconds = None
    if probe is not None:
        rate, triad, seconds = probe.best, probe.triad, probe.best_of(bursts).seconds
    behind = plan.program.count
    functions = {piece.node: (behind + piece.first, behind + piece.end) for piece in plan.pieces if piece.node}
    nodes = []
    for node in plan.nodes:
        first, end = functions[node] if node in functions else plan.steps[node]
        known = times is not None and end > first
        spent = float(times[first:end].sum()) if known else None
        nodes.append(_node(plan, node, spent, rate, triad))
    return NetworkReport(
        tuple(nodes), plan.program.isa, plan.program.threads, plan.parts, plan.placement.bytes, plan.program.workspace,
        sum(node.flops for node in nodes), seconds, rate, triad,
        probe is not None and probe.unsteady(bursts),
    )  # fmt: skip


def _node(plan: Plan, node: Node, spent: float | None, rate: float | None, triad: float | None) -> NodeReport:
    infos = [None if value is None else plan.info(value) for value in node.inputs]
    outputs = [plan.info(value) for value in node.outputs]
    flops = plan.parts * OPS[node.op].flops(node.attrs, infos, outputs)
    arrays = [info for info in (*infos, *outputs) if info is not None]
    moved = plan.parts * bytes_of(arrays)
    share = None
    if spent:
        share = max(flops / (rate * 1e9), moved / (triad * 1e9)) / spent
    added = "+Add" if node.op in ADDING and len(node.inputs) > 3 and node.inputs[3] is not None else ""
    code = node.attrs.get("activation", NONE)
    name = f"{node.op}{added}{'' if code == NONE else f'+{operator_of(code)[0]}'}"
    return NodeReport(node.path, name, plan.whole(outputs[0]).shape, _how(plan, node), flops, moved, spent, share)


def _how(plan: Plan, node: Node) -> str:
    """What `NodeReport.how` says of a node."""
    if node not in plan.steps:
        return "NumPy"
    first, end = plan.steps[node]
    if first == end:
        return "joined in place" if node.op in JOINING else "view"
    told = plan.program.explain(end - 1)
    if told is None:
        return "engine"
    name, arrangement = _options.name_of(told["algorithm"], _options.ALGORITHMS), told["arrangement"]
    spot = plan.placement.spot(node.outputs[0])
    last = ["channels last"] if len(spot.shape) > 2 and spot.strides[1] == spot.item else []
    threads = counted(told["threads"], "thread")
    return ", ".join([name, *([arrangement] if arrangement else []), threads, *last])


def measured(plan: Plan, arrays: list[np.ndarray], run: Any) -> tuple[np.ndarray, list[Burst], Probe]:
    """The best time of every step and NumPy function, bursts of whole runs, and the peak beside them."""
    each: list[np.ndarray] = []

    def once() -> None:
        each.append(np.zeros(plan.program.count + plan.functions))
        run(arrays, each[-1])

    dtype = "float64" if any(array.dtype == np.float64 for array in arrays) else "float32"
    probe = Probe(dtype, plan.program.threads)
    bursts = bursts_of(once, probe, _BURST_SECONDS)
    probe.renew()
    return np.min(each, axis=0), bursts, probe
