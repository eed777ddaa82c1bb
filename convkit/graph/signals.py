"""Rows of operators on signals: Fourier transforms, of whole signals and of frames, and mel filters."""

from __future__ import annotations

import numpy as np

from .table import Attrs, Info, needs, op, positive


def _complex(x: np.ndarray) -> np.ndarray:
    """Numbers whose last axis is (real,) or (real, imaginary)."""
    return x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]


def _real(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.stack([x.real, x.imag], -1).astype(dtype)


def _dft_infer(attrs: Attrs, x: Info, length: Info | None = None, axis: Info | None = None) -> list[Info]:
    shape, at = list(x.shape), -2 if axis is None else int(needs(axis).reshape(()))
    at = positive(at, len(shape))
    if length is not None:
        shape[at] = int(needs(length).reshape(()))
    sides = attrs.get("onesided", 0)
    if sides:
        shape[at] = 2 * (shape[at] - 1) if attrs.get("inverse", 0) and length is None else shape[at]
        shape[at] = shape[at] if attrs.get("inverse", 0) else shape[at] // 2 + 1
    shape[-1] = 1 if sides and attrs.get("inverse", 0) else 2
    return [Info(tuple(shape), x.dtype)]


@op("DFT", infer=_dft_infer)
def _dft(attrs: Attrs, x: np.ndarray, length: np.ndarray | None = None, axis: np.ndarray | None = None) -> np.ndarray:
    at = positive(-2 if axis is None else int(axis.reshape(())), x.ndim)
    count = None if length is None else int(length.reshape(()))
    if attrs.get("inverse", 0):
        if attrs.get("onesided", 0):
            return np.fft.irfft(_complex(x), count, at)[..., np.newaxis].astype(x.dtype)
        return _real(np.fft.ifft(_complex(x), count, at), x.dtype)
    y = np.fft.fft(_complex(x), count, at)
    if attrs.get("onesided", 0):
        y = np.take(y, np.arange(y.shape[at] // 2 + 1), at)
    return _real(y, x.dtype)


def _stft_infer(
    attrs: Attrs, x: Info, step: Info, window: Info | None = None, length: Info | None = None
) -> list[Info]:
    if window is None and length is None:
        raise ValueError("the node must have a window or a frame_length, got neither")
    size = window.shape[0] if window is not None else int(needs(length).reshape(()))
    frames = (x.shape[1] - size) // int(needs(step).reshape(())) + 1
    return [Info((x.shape[0], frames, size // 2 + 1 if attrs.get("onesided", 1) else size, 2), x.dtype)]


@op("STFT", infer=_stft_infer)
def _stft(attrs: Attrs, x: np.ndarray, step: np.ndarray, window=None, length=None) -> np.ndarray:
    size = len(window) if window is not None else int(length.reshape(()))
    signal = _complex(x if x.ndim == 3 else x[..., np.newaxis])
    frames = np.lib.stride_tricks.sliding_window_view(signal, size, 1)[:, :: int(step.reshape(()))]
    y = np.fft.fft(frames if window is None else frames * window)
    return _real(y[..., : size // 2 + 1] if attrs.get("onesided", 1) else y, x.dtype)


def _mel_infer(attrs: Attrs, bins: Info, length: Info, *_: Info) -> list[Info]:
    shape = int(needs(length).reshape(())) // 2 + 1, int(needs(bins).reshape(()))
    return [Info(shape, np.dtype(attrs.get("output_datatype", np.float32)))]


@op("MelWeightMatrix", infer=_mel_infer)
def _mel_weights(attrs: Attrs, bins: np.ndarray, length, rate, lower, upper) -> np.ndarray:
    """Triangles whose corners are equally far apart in mel, as bins of a spectrum."""
    count, length, rate = (int(number.reshape(())) for number in (bins, length, rate))
    ends = 2595 * np.log10(1 + np.array([lower.item(), upper.item()]) / 700)
    mels = np.arange(count + 2) * ((ends[1] - ends[0]) / (count + 2)) + ends[0]
    corners = ((length + 1) * (700 * (10 ** (mels / 2595) - 1)) // rate).astype(np.int64)
    y = np.zeros((length // 2 + 1, count), attrs.get("output_datatype", np.float32))
    for i, (low, centre, high) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        if centre == low:
            y[centre, i] = 1
        else:
            y[low : centre + 1, i] = (np.arange(low, centre + 1) - low) / (centre - low)
        if high > centre:
            y[centre:high, i] = (high - np.arange(centre, high)) / (high - centre)
    return y
