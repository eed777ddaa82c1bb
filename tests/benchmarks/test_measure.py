"""A layer beside peers that are made up: who is timed, who is refused, and what follows from the times."""

import numpy as np
import pytest

import convkit
from convkit._probe import Burst, Probe
from convkit._timing import Contender
from convkit.benchmarks import measure as measuring
from convkit.benchmarks import report
from convkit.benchmarks.layers import Layer
from convkit.benchmarks.measure import measure, measure_again
from convkit.benchmarks.problem import DIRECTIONS, NotOfferedError, Problem, Setting, difference, ours

PLAIN = Layer("plain", "conv", 2, 4, (6, 7), 6, (3, 3), 1, 1)
ALL = (
    PLAIN,
    Layer("transposed", "convT", 1, 4, (5,), 6, (3,), 2, 1, groups=2),
    Layer("deformable", "dcn", 1, 4, (5, 6), 3, (3, 3), 1, 1),
    Layer("masked", "dcn2", 1, 4, (4, 5, 6), 3, (2, 2, 2)),
)


def answering(name, change=lambda y: y):
    """A peer that gives convkit's result, changed."""

    def build(problem):
        out, _ = ours(problem)
        return Contender(name, out.call, lambda r: {name: change(np.array(a)) for name, a in out.read(r).items()})

    return build


def refusing(problem):
    raise NotOfferedError("no such operator")


@pytest.fixture
def probe(brief):
    return Probe("float32", 1)


def test_who_agrees_is_timed_and_who_does_not_is_named(probe):
    changes = {
        "right": lambda y: y * np.float32(1 + 1e-6),
        "wrong": lambda y: y + np.float32(1e-2),
        "one wrong": lambda y: np.where(np.arange(y.size).reshape(y.shape) == 5, y + 0.2, y),
        "not a number": lambda y: y * np.nan,
        "other shape": lambda y: y[..., 1:],
    }
    peers = {name: answering(name, change) for name, change in changes.items()} | {"refuses": refusing}
    row = measure(PLAIN, "forward", Setting(), peers, probe)
    assert (row.peers, set(row.bursts)) == (["right"], {"convkit", "fresh", "right"})
    assert set(row.refused) == set(peers) - {"right"}
    assert "result differs: y differs by" in row.refused["wrong"]
    assert "shape" in row.refused["other shape"]
    assert row.refused["refuses"] == "no such operator"


def test_a_peer_that_is_not_installed_is_no_refusal(probe):
    def absent(problem):
        raise convkit._extras.MissingExtraError("not installed")

    with pytest.raises(ImportError):
        measure(PLAIN, "forward", Setting(), {"absent": absent}, probe)


@pytest.mark.parametrize("layout", ("NCHW", "NHWC"))
@pytest.mark.parametrize("layer", ALL, ids=lambda layer: layer.name)
def test_every_direction_gives_what_the_reference_gives(layer, layout):
    for direction in DIRECTIONS:
        problem = Problem(layer, direction, Setting("float64", layout))
        data = dict(problem.operands)
        options = problem.sizes() | ({} if layer.kind in ("dcn", "dcn2") else {"groups": layer.groups})
        name = {"conv": "conv", "convT": "conv_transpose"}.get(layer.kind, "deform_conv") + f"{layer.nd}d"
        if direction == "forward":
            wanted = {"y": getattr(convkit.reference, name)(**data, **options)}
        else:
            del data["bias"]
            grads = getattr(convkit.reference, name + "_backward")(**data, **options)
            wanted = {name: grads._asdict()[name] for name in problem.results}
        timed = [*ours(problem)]
        if direction == "forward" and layer.kind not in ("dcn", "dcn2"):
            timed += ours(Problem(layer, direction, Setting("float64", layout, prepared=True)))
        for contender in timed:
            assert difference(contender.read(contender.call()), wanted) is None


def test_bytes_are_of_each_array_once():
    sizes = {name: 4 * count for name, count in PLAIN.elements.items()}
    x, weight, y = sizes["x"], sizes["weight"], sizes["y"]
    wanted = dict.fromkeys(DIRECTIONS, x + weight + y) | {"backward": 2 * (x + weight) + y}
    assert {direction: Problem(PLAIN, direction, Setting()).bytes for direction in DIRECTIONS} == wanted


def test_time_again_where_disturbed_or_beaten(probe, monkeypatch):
    runs = []

    class Scripted(measuring.Race):
        def run(self, rounds=None):
            for contender in self.contenders:
                self.bursts.setdefault(contender.name, []).extend([script[contender.name][len(runs)]] * 2)
            runs.append(rounds)

    monkeypatch.setattr(measuring, "Race", Scripted)

    def burst(seconds, share_of_peak=1.0):
        return Burst(seconds, before=probe.best, after=share_of_peak * probe.best)

    def row_of(**bursts):
        script.clear()
        script.update(bursts)
        runs.clear()
        return measure(PLAIN, "forward", Setting(), {"peer": answering("peer")}, probe)

    script = {}
    row = row_of(convkit=[burst(4e-3)], fresh=[burst(5e-3)], peer=[burst(6e-3)])
    assert len(runs) == 1 and row.steady
    assert (row.ratio(), row.ratio("fresh")) == (pytest.approx(1.5), pytest.approx(1.2))

    beaten_at_first = [burst(4e-3), burst(2e-3)]
    row = row_of(convkit=beaten_at_first, fresh=[burst(4e-3)] * 2, peer=[burst(3e-3)] * 2)
    assert len(runs) == 2
    assert (row.ratio(), row.ratio("fresh")) == (pytest.approx(1.5), pytest.approx(0.75))

    disturbed_at_first = [burst(1e-3, 0.5), burst(4e-3)]
    row = row_of(convkit=disturbed_at_first, fresh=[burst(4e-3)] * 2, peer=[burst(8e-3)] * 2)
    assert len(runs) == 2 and row.steady and row.best().seconds == 4e-3

    for name in script:
        script[name].append(burst(1e-3))
    measure_again(row, {"peer": answering("peer")})
    assert len(runs) == 3 and row.ratio() == pytest.approx(1)

    always_disturbed = [burst(4e-3, 0.5)] * 9
    row = row_of(convkit=always_disturbed, fresh=always_disturbed, peer=always_disturbed)
    assert len(runs) == 1 + measuring.DISTURBED and not row.steady


def test_shares_are_of_the_peak_and_of_the_roofline(probe):
    row = measure(PLAIN, "forward", Setting(), {}, probe)
    assert row.gflops == pytest.approx(PLAIN.flops / row.best().seconds / 1e9)
    assert row.share == pytest.approx(row.gflops / probe.best)
    roof = probe.roof
    roof.triad = 1e-9  # memory so slow that it alone decides
    assert row.roofline == pytest.approx(row.bytes / row.best().seconds)
    roof.triad = 1e9
    assert row.roofline == pytest.approx(row.share)
    assert row.ratio() is None and row.peers == []
    probe.best = roof.gflops = row.gflops / 2  # no machine does more than its peak
    assert not row.steady
    table = report.Table([PLAIN], [])
    assert list(report.notes([row])) == ["! above 100 %: other work was using the machine while its peak was measured"]
    assert " 200 %  200 %! " in table.line(row)
    row.winograd = probe.disturbed = True  # but of the products that are counted; and the machine was busy in between
    assert row.steady
    above, unsteady = report.notes([row])
    assert above.startswith("* above 100 %: Winograd's algorithm") and unsteady.startswith("unsteady: other work")
    roof.gflops = 1e9
    roof.triad = row.bytes / row.best().seconds / 1.5e9
    assert report.mark(row, roof=False) == " "  # its share of the peak is as it should be
    assert " 150 %+ " in table.line(row) and next(report.notes([row])).startswith("+ above the roofline: data")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_layers_of_winograds_algorithm_are_known(layout):
    layer = Layer("wide", "conv", 2, 64, (16, 17), 64, (3, 3), 1, 1)
    assert [Problem(layer, each, Setting(layout=layout)).winograd for each in DIRECTIONS] == [True] * 4
    assert not any(Problem(each, "backward", Setting(layout=layout)).winograd for each in ALL)


def test_one_wrong_element_among_many_is_a_difference():
    wanted = np.random.default_rng(0).standard_normal(100_000)
    got = wanted.copy()
    got[777] += 0.01
    assert difference({"y": got}, {"y": wanted}) is None
    got[777] += 0.04
    assert "at most by 5" in difference({"y": got}, {"y": wanted})


def test_quantiles_are_values_that_are_there():
    found = {"least": 1, "1 %": 2, "5 %": 6, "quarter": 26, "median": 51, "most": 100}
    assert dict(report.quantiles(range(100, 0, -1))) == found
