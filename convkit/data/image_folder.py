"""A folder of images, one subfolder for each class."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import _extras
from .._shapes import per_axis
from .._words import brief, counted
from ._picture import fitted, read_picture

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MODES = {"RGB": 3, "L": 1}
# What systems leave behind in folders, besides names that begin with a dot, in lower case.
LITTER = (
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbs.db",
    "desktop.ini",
)


class ImageFolder:
    """The images under ``root/<class>/``, read from disk when they are asked for.

    Like an array it has a length, and `folder[indices]`, `folder[begin:end]` give the images at these indices; so it
    stands wherever a set of samples is wanted, as in ``minibatches(folder, folder.labels, 64)``.

    Parameters
    ----------
    root : str or Path
        Every subfolder is a class and named after it; its images (bmp, jpeg, pgm, png, ppm, tiff, webp) may lie deeper.
        Links are followed. Passed over at every depth, folders and files alike: names that begin with a dot
        (``.ipynb_checkpoints``, ``._1.png``, ``.DS_Store``), and what systems leave behind (``__MACOSX``,
        ``Thumbs.db``, ``desktop.ini``, ``@eaDir``, ``lost+found``, recycle bins).
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
        If there is no such folder, or a link leads nowhere; the message names it.
    PermissionError
        If a folder may not be read.
    ImportError
        If Pillow, of the extra ``[train]``, is not installed.
    ValueError
        If there is no class or a class has no image, something with an image's name is neither file nor folder, links
        go round in a circle, `mode` is unknown or `size` not positive. When reading: if a file cannot be read, is no
        image, or of another size than the others; the message names it.

    Notes
    -----
    An image is turned upright as its EXIF orientation says, before anything else. Of an animation, or a file of several
    pages, the first image counts; transparency is dropped.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> from convkit import data
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
    ...     (root / name).parent.mkdir(exist_ok=True)
    ...     Image.new("RGB", (6, 4), "white").save(root / name)
    >>> folder = data.ImageFolder(root)
    >>> folder.classes, folder.labels.tolist(), folder[:2].shape
    (['cat', 'dog'], [0, 0, 1], (2, 3, 4, 6))
    """

    def __init__(
        self, root: str | Path, size: int | tuple[int, int] | None = None, mode: str = "RGB", transform: Any = None
    ) -> None:
        _extras.need("PIL.Image", "train")  # not kept: modules cannot be pickled
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {brief(mode)}")
        self.size = None if size is None else per_axis(size, 2, "size", 1)
        self.root, self.mode, self.transform = Path(root), mode, transform
        folders = sorted(entry for entry in _entries(self.root) if entry.is_dir())
        found = [sorted(_images_under(folder, ())) for folder in folders]
        empty = [folder.name for folder, paths in zip(folders, found, strict=True) if not paths]
        if not folders or empty:
            where = f"none in {', '.join(empty)}" if empty else "no subfolder"
            raise ValueError(f"root must hold a subfolder of images ({' '.join(SUFFIXES)}) for each class, got {where}")
        self.classes = [folder.name for folder in folders]
        self.paths = [path for paths in found for path in paths]
        self.labels = np.repeat(np.arange(len(folders), dtype=np.int64), [len(paths) for paths in found])

    def subset(self, chosen: Any) -> ImageFolder:
        """Return the folder with only some of its images, those at the indices (or where the mask) `chosen`."""
        part, indices = copy.copy(self), self._indices(chosen, "chosen")
        part.paths, part.labels = [self.paths[i] for i in indices], self.labels[indices]
        return part

    def __repr__(self) -> str:
        size, held = "" if self.size is None else f", size={self.size}", counted(len(self), "image")
        return f"ImageFolder({str(self.root)!r}{size}, mode={self.mode!r}): {held} of {brief(self.classes)}"

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, chosen: Any) -> np.ndarray:
        """Return the images at an array of indices, or of a slice, as float32 ``(N, C, H, W)``, 0 to 1."""
        indices = self._indices(chosen, "indices")
        shape, images = self.size, []
        for i in indices:
            images.append(self._read(self.paths[i], shape))
            shape = images[0].shape[:2]
        batch = np.stack(images) if images else np.empty((0, *(self.size or (0, 0)), MODES[self.mode]), np.uint8)
        x = np.ascontiguousarray(np.moveaxis(batch, -1, 1), np.float32) / np.float32(255)
        return x if self.transform is None else self.transform(x)

    def _indices(self, chosen: Any, name: str) -> np.ndarray:
        """Which images are chosen, each by its number."""
        try:
            indices = np.arange(len(self))[chosen]
        except IndexError as error:
            if isinstance(chosen, slice) or np.asarray(chosen).dtype.kind in "iub":  # one that is not there
                raise
            raise TypeError(f"{name} must be a slice or an array of ints, got {brief(chosen)}") from error
        if indices.ndim != 1:
            raise TypeError(f"{name} must be a slice or an array of ints, got {brief(chosen)}")
        return indices

    def _read(self, path: Path, shape: tuple[int, int] | None) -> np.ndarray:
        """One image, uint8 ``(H, W, C)``, of the given height and width if any."""
        image = read_picture(path, self.mode)
        if self.size is not None:
            image = fitted(image, self.size)
        if shape is not None and image.size != shape[::-1]:
            raise ValueError(
                f"{path} must be {shape[0]}x{shape[1]} pixels as the images before it, unless size=(height, width) is "
                f"given, got {image.size[1]}x{image.size[0]}"
            )
        return np.asarray(image, np.uint8).reshape(*image.size[::-1], MODES[self.mode])


def _entries(folder: Path) -> Iterator[Path]:
    """What is in a folder and meant to be there: the one rule for every listing."""
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name.lower() in LITTER:
            continue
        if path.is_symlink() and not path.exists():
            raise FileNotFoundError(f"{path} must lead to a file or a folder, got a link to {os.readlink(path)}")
        yield path


def _images_under(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """The image files in a folder, at any depth; `above` are the folders it was come to through."""
    here = folder.resolve()
    if here in above:
        raise ValueError(f"{folder} must not lead back to a folder that holds it, got a link to {here}")
    for path in _entries(folder):
        if path.is_dir():
            yield from _images_under(path, (*above, here))
        elif path.suffix.lower() in SUFFIXES:
            if not path.is_file():
                raise ValueError(f"{path} must be a file, got a pipe, a socket or a device")
            yield path
