"""Contenders in turn, and which of their bursts count; how fast anything is, no test says."""

import dataclasses

import pytest

from convkit import _probe, _timing
from convkit._ext import engine
from convkit._probe import Burst, Probe
from convkit._timing import Contender, Race


@pytest.fixture
def peaks(brief, monkeypatch):
    """A machine whose peak is, from one probe to the next, what the test puts here, in GFLOP/s; the last one stays."""
    left = [100.0]
    monkeypatch.setattr(engine, "measure_fma", lambda *_: 1e9 * (left.pop(0) if len(left) > 1 else left[0]))
    return left


def test_turns_rotate_and_all_have_equally_many(peaks):
    order = []
    race = Race([Contender(name, lambda name=name: order.append(name)) for name in "abc"], Probe("float32", 1))
    race.run(3)
    assert "".join(dict.fromkeys(order)) == "abc"
    turns = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    assert "".join(turns) == "abcbcacab"
    assert {name: len(bursts) for name, bursts in race.bursts.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_race_goes_on_where_it_stopped(peaks):
    probe = Probe("float32", 1)
    race = Race([Contender("a", int)], probe)
    race.run(2)
    again = Race([Contender("a", int)], probe, race.bursts)
    again.run(1)
    assert len(race.bursts["a"]) == 3


def test_bursts_in_slow_episodes_do_not_count(peaks):
    probe = Probe("float32", 1)
    race = Race([Contender("a", int)], probe)
    peaks[:] = [99, 50, 97, 98, 98]  # before the first, then after each
    race.run(4)
    assert [probe.counts(burst) for burst in race.bursts["a"]] == [False, False, True, True]


def test_the_best_burst_is_the_fastest_that_counts_or_the_fastest_of_all(peaks, monkeypatch):
    monkeypatch.setattr(_probe, "FEW_SWITCHES", 1)
    probe = Probe("float32", 1)
    slow, good = Burst(3.0, before=100, after=100), Burst(2.0, before=99, after=95)
    in_an_episode, interrupted = Burst(1.0, before=100, after=60), Burst(1.0, switches=9, before=100, after=100)
    assert probe.best_of([slow, good, in_an_episode, interrupted]) is good
    for burst in (in_an_episode, interrupted):
        assert probe.best_of([burst]) is burst and not probe.counts(burst)
    assert probe.counts(dataclasses.replace(interrupted, duration=1.0))  # not often, for so long a burst
    probe.best = 110.0  # a peak seen later: the machine had not been itself
    assert not any(map(probe.counts, (slow, good)))


def test_a_best_burst_is_steady_when_another_repeats_it(peaks, monkeypatch):
    monkeypatch.setattr(_probe, "REPEATED", 1.08)
    probe = Probe("float32", 1)
    best, near, far, half_the_peak = (
        Burst(s, before=b, after=100) for s, b in ((1, 99), (1.05, 99), (1.2, 99), (1, 50))
    )
    assert probe.steady([far, best, near])
    assert not probe.steady([far, best])
    assert not probe.steady([best, half_the_peak])


def test_more_threads_than_cores_interrupt_each_other(peaks, monkeypatch):
    monkeypatch.setattr(_probe, "FEW_SWITCHES", 1)
    probe = Probe("float32", _probe.CORES + 1)
    assert probe.counts(Burst(1.0, switches=9, before=100, after=100))


def test_a_burst_is_as_many_calls_as_fit_and_one_at_least(monkeypatch):
    calls = []
    monkeypatch.setattr(_timing.time, "perf_counter", lambda: 0.004 * len(calls))  # a call takes 4 ms
    monkeypatch.setattr(_timing, "SETTLE_SECONDS", 0.003)
    monkeypatch.setattr(_timing, "BURST_SECONDS", 0.012)
    assert _timing.run_burst(lambda: calls.append(0)).seconds == pytest.approx(0.004)
    assert len(calls) == 1 + 3  # one to settle
    monkeypatch.setattr(_timing, "BURST_SECONDS", 0.0)
    _timing.run_burst(lambda: calls.append(0))
    assert len(calls) == 1 + 3 + 2


@pytest.mark.thorough
def test_page_faults_are_counted_for_each_call(brief):
    faults = _timing.run_burst(lambda: bytearray(64 * 2**20)).faults  # above malloc's largest threshold, so mapped anew
    assert faults > 64 * 2**20 / 2**21 / 2  # in pages of 2 MiB at most


def test_it_waits_for_threads_that_are_busy(monkeypatch):
    slept = []
    monkeypatch.setattr(_timing.time, "sleep", slept.append)
    clock = iter(range(100))
    monkeypatch.setattr(_timing.time, "perf_counter", lambda: next(clock) * 0.01)
    busy = iter([0.0, 0.02, 0.02, 0.04, 0.04, 0.0401])  # CPU seconds before and after each look
    monkeypatch.setattr(_timing.time, "process_time", lambda: next(busy))
    _timing.be_quiet()
    assert len(slept) == 4  # the rest before each burst, and three looks, of which the last finds nobody busy
