"""A folder of images, one subfolder for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import _extras
from .._shapes import per_axis

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MODES = {"RGB": 3, "L": 1}


class ImageFolder:
    """The images under ``root/<class>/``, read from disk when they are asked for.

    Like an array it has a length, and `folder[indices]`, `folder[begin:end]` give the images at these indices; so it
    stands wherever a set of samples is wanted, as in ``minibatches(folder, folder.labels, 64)``.

    Parameters
    ----------
    root : str or Path
        Every subfolder is a class and named after it; its images (bmp, jpeg, pgm, png, ppm, tiff, webp) may lie deeper.
    size : int, (int, int) or None
        Height and width to bring every image to: scaled to cover them, bilinearly, and cut around the centre. None:
        they already have one size.
    mode : {"RGB", "L"}
        Colour or grey.
    transform : function or None
        Applied to every batch that is read, such as a fitted `ZScore`; an attribute that may be set later.

    Attributes
    ----------
    classes : list of str
        Names of the classes, sorted.
    paths : list of Path
        The images, sorted by class, then by path.
    labels : ndarray of int64, ``(len,)``
        The class of every image, an index into `classes`.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    ImportError
        If Pillow, of the extra ``[train]``, is not installed.
    ValueError
        If there is no class or a class has no image, `mode` is unknown or `size` not positive. When reading: if a file
        is no image, or of another size than the others; the message names it.
    """

    def __init__(
        self, root: str | Path, size: int | tuple[int, int] | None = None, mode: str = "RGB", transform: Any = None
    ) -> None:
        _extras.need("PIL.Image", "train")  # not kept: modules cannot be pickled
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.size = None if size is None else per_axis(size, 2, "size", 1)
        self.mode, self.transform = mode, transform
        folders = sorted(entry for entry in Path(root).iterdir() if entry.is_dir() and not entry.name.startswith("."))
        found = [_images_under(folder) for folder in folders]
        empty = [folder.name for folder, paths in zip(folders, found, strict=True) if not paths]
        if not folders or empty:
            where = f"none in {', '.join(empty)}" if empty else "no subfolder"
            raise ValueError(f"root must hold a subfolder of images ({' '.join(SUFFIXES)}) for each class, got {where}")
        self.classes = [folder.name for folder in folders]
        self.paths = [path for paths in found for path in paths]
        self.labels = np.repeat(np.arange(len(folders), dtype=np.int64), [len(paths) for paths in found])

    def subset(self, chosen: Any) -> ImageFolder:
        """Return the folder with only some of its images, those at the indices (or where the mask) `chosen`."""
        part = object.__new__(ImageFolder)
        part.__dict__.update(self.__dict__)
        indices = np.arange(len(self))[chosen]
        part.paths, part.labels = [self.paths[i] for i in indices], self.labels[indices]
        return part

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen: Any) -> np.ndarray:
        """Return the images at an array of indices, or of a slice, as float32 ``(N, C, H, W)``, 0 to 1."""
        indices = np.arange(len(self))[chosen]
        if indices.ndim != 1:
            raise TypeError(f"indices must be a slice or an array of ints, got {chosen!r}")
        shape, images = self.size, []
        for i in indices:
            images.append(self._read(self.paths[i], shape))
            shape = images[0].shape[:2]
        batch = np.stack(images) if images else np.empty((0, *(self.size or (0, 0)), MODES[self.mode]), np.uint8)
        x = np.ascontiguousarray(np.moveaxis(batch, -1, 1), np.float32) / np.float32(255)
        return x if self.transform is None else self.transform(x)

    def _read(self, path: Path, shape: tuple[int, int] | None) -> np.ndarray:
        """One image, uint8 ``(H, W, C)``, of the given height and width if any."""
        pillow = _extras.need("PIL.Image", "train")
        try:
            with pillow.open(path) as file:
                if file.mode.startswith(("I", "F")):
                    raise ValueError(f"its values, mode {file.mode}, have more than 8 bits")
                image = file.convert(self.mode)
        except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
            raise ValueError(f"{path} must be an image that Pillow can read: {error}") from error
        if self.size is not None:
            ops = _extras.need("PIL.ImageOps", "train")
            image = ops.fit(image, self.size[::-1], method=pillow.Resampling.BILINEAR)
        if shape is not None and image.size != shape[::-1]:
            raise ValueError(
                f"{path} must be {shape[0]}x{shape[1]} pixels as the images before it (or give size=), "
                f"got {image.size[1]}x{image.size[0]}"
            )
        return np.asarray(image, np.uint8).reshape(*image.size[::-1], MODES[self.mode])


def _images_under(folder: Path) -> list[Path]:
    """The image files in a folder, at any depth, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
