"""Numbers in sentences and tables."""

import numpy as np
import pytest

from convkit._words import brief, byte_count, counted, dimensions, percent, rounded, said, with_type


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


class Unspeakable:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (7, "7"),
        ("two", "'two'"),
        ((1, (2, 3)), "(1, (2, 3))"),
        (np.float64(0.5), "np.float64(0.5)"),
        (np.arange(3), "array([0, 1, 2])"),
        (np.eye(2), "array([[1., 0.], [0., 1.]])"),
        (np.zeros((2, 9), np.float32), "an ndarray of float32 and shape (2, 9)"),
        ([*range(10**6)], "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 2..."),
        ("a" * 10**6, f"'{75 * 'a'}..."),
        (10**10_000, "what has no text (ValueError)"),
        (Unspeakable(), "what has no text (RuntimeError)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_in_an_error_is_brief(value, words):
    assert brief(value) == words
    assert with_type(value) == words + (f" of type {type(value).__name__}" if "ndarray" not in words else "")


def test_what_an_error_says():
    assert said(ValueError("x must be 1")) == "x must be 1"
    assert said(KeyError("weights")) == "it has no 'weights'"
