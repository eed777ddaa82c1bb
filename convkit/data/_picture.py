"""Pictures as Pillow reads them, in one way for training and for use."""

from __future__ import annotations

from typing import Any

from .. import _extras

# How an image that was stored turned or mirrored is brought upright, by its EXIF orientation.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_ORIENTATION = 0x0112


def read_picture(path: Any, mode: str) -> Any:
    """An image of Pillow's in `mode`, turned as its EXIF orientation says; one of more than 8 bits is refused."""
    pillow = _extras.need("PIL.Image", "train")
    try:
        with pillow.open(path) as file:
            if file.mode.startswith(("I", "F")):
                raise ValueError(f"its values, mode {file.mode}, have more than 8 bits")
            file.load()  # TIFF turns itself upright while it is loaded, and has no orientation then
            return _upright(file, pillow.Transpose).convert(mode)
    except MemoryError:
        raise
    except Exception as error:  # whatever the readers of nine formats make of arbitrary bytes
        raise ValueError(f"{path} must be an image that Pillow can read: {error}") from error


def fitted(image: Any, size: tuple[int, int], crop: bool = True) -> Any:
    """An image at so many pixels, (height, width), cut to these proportions about its middle unless it is stretched."""
    method = _extras.need("PIL.Image", "train").Resampling.BILINEAR
    if crop:
        return _extras.need("PIL.ImageOps", "train").fit(image, size[::-1], method=method)
    return image.resize(size[::-1], method)


def _upright(image: Any, turns: Any) -> Any:
    """An image turned as its EXIF orientation says, where that can be understood."""
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION))
    except Exception:  # whatever a reader makes of arbitrary bytes; the image itself is none the worse
        return image
    return image if turn is None else image.transpose(turns[turn])
