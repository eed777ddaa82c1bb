"""Numbers in sentences and tables."""

import pytest

from convkit._words import byte_count, counted, dimensions, percent, rounded


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0"), (0.03426, "0.0343"), (5.4, "5.4"), (12.0, "12"), (1234.5, "1,230")]
)
def test_three_figures_without_an_exponent(number, words):
    assert rounded(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 B"), (640, "640 B"), (999, "999 B"), (1000, "1 kB"), (23_600, "23.6 kB"), (999_600, "1 MB"),
        (1_150_000, "1.15 MB"), (8 * 10**9, "8 GB"), (5 * 10**15, "5,000 TB"),
    ],
)  # fmt: skip
def test_bytes_have_the_unit_that_suits_them(number, words):
    assert byte_count(number) == words


def test_shares_and_nouns():
    assert (percent(0.666), percent(0.9972, 1)) == ("67 %", "99.7 %")
    assert (dimensions((3, 224, 224)), dimensions(())) == ("3x224x224", "")
    assert (counted(1, "thread"), counted(2, "thread"), counted(1234, "epoch")) == (
        "1 thread", "2 threads", "1,234 epochs",
    )  # fmt: skip
