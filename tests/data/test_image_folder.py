"""A folder of images: what is found, how it is read, and what is said of a broken one."""

import errno
import os
import pathlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from convkit import data
from missing import hide


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return array


@pytest.fixture
def folder(tmp_path):
    """Two cats, one deeper, and a dog, all 4x6 and lossless; besides a file that is no image."""
    rng = np.random.default_rng(0)
    images = [
        save(tmp_path / name, rng.integers(0, 256, (4, 6, 3), np.uint8))
        for name in ("cat/b.png", "cat/deep/a.PPM", "dog/1.bmp")
    ]
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    return tmp_path, np.stack(images)


def test_what_is_found_and_read(folder):
    root, images = folder
    found = data.ImageFolder(root)
    assert found.classes == ["cat", "dog"] and len(found) == 3
    assert [path.name for path in found.paths] == ["b.png", "a.PPM", "1.bmp"]
    assert found.labels.tolist() == [0, 0, 1] and found.labels.dtype == np.int64
    expected = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    for chosen in (slice(None), np.array([2, 0]), slice(1, 2), found.labels == 0, np.array([], int)):
        got = found[chosen]
        assert got.dtype == np.float32 and got.flags.c_contiguous
        if len(got):
            np.testing.assert_array_equal(got, expected[chosen])
    assert found[:0].shape[:2] == (0, 3)
    assert repr(found) == f"ImageFolder({str(root)!r}, mode='RGB'): 3 images of ['cat', 'dog']"


def test_one_rule_for_every_listing(folder):
    """What begins with a dot, or systems leave behind: folders and files, classes and below, as links too."""
    root, _ = folder
    expected = [str(path) for path in data.ImageFolder(root).paths]
    litter = (".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "#recycle", "lost+found")
    for where in (root, root / "cat", root / "cat" / "deep"):
        for name in litter:
            save(where / name / "0-checkpoint.png", np.zeros((4, 6, 3), np.uint8))
    for where in (root / "cat", root / "cat" / "deep", root / "dog"):
        for name in ("._b.png", ".hidden.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "b.png~"):
            (where / name).write_bytes(b"no image")
        (where / ".#b.png").symlink_to("nobody@nowhere")  # an editor's lock
    (root / ".DS_Store").write_bytes(b"no image")
    (root / "._dog").symlink_to(root / "dog")
    found = data.ImageFolder(root)
    assert found.classes == ["cat", "dog"] and [str(path) for path in found.paths] == expected
    found[:]


def test_links_are_followed(folder, tmp_path_factory):
    root, images = folder
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save(elsewhere / "x" / "1.png", images[0])
    save(elsewhere / "2.png", images[1])
    (root / "dog" / "more").symlink_to(elsewhere / "x")
    (root / "dog" / "2.png").symlink_to(elsewhere / "2.png")
    (root / "fish").symlink_to(elsewhere / "x")
    found = data.ImageFolder(root)
    assert found.classes == ["cat", "dog", "fish"] and found.labels.tolist() == [0, 0, 1, 1, 1, 2]
    assert [str(path.relative_to(root)) for path in found.paths[2:]] == [
        "dog/1.bmp",
        "dog/2.png",
        "dog/more/1.png",
        "fish/1.png",
    ]
    np.testing.assert_array_equal(found[3:], found[[1, 0, 0]])


@pytest.mark.parametrize("name", ["fish", "dog/2.png", "cat/deep/v1.0"])
def test_a_link_that_leads_nowhere_is_named(folder, name):
    root, _ = folder
    for target in ("gone", root / name):  # or round in a circle
        (root / name).symlink_to(target)
        with pytest.raises(FileNotFoundError, match=rf"{name} must lead to a file or a folder, got a link to .*"):
            data.ImageFolder(root)
        (root / name).unlink()
    assert len(data.ImageFolder(root)) == 3


def test_what_cannot_be_listed_is_named(folder):
    root, _ = folder
    (root / "cat" / "deep" / "up").symlink_to(root / "cat")
    with pytest.raises(ValueError, match="deep/up must not lead back to a folder that holds it"):
        data.ImageFolder(root)
    (root / "cat" / "deep" / "up").unlink()
    os.mkfifo(root / "dog" / "2.png")
    with pytest.raises(ValueError, match=r"dog/2.png must be a file, got a pipe"):
        data.ImageFolder(root)


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    root, _ = folder
    iterdir = pathlib.Path.iterdir

    def refused(path):
        if path.name == "deep":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return iterdir(path)

    monkeypatch.setattr(pathlib.Path, "iterdir", refused)
    with pytest.raises(PermissionError, match="cat/deep"):
        data.ImageFolder(root)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_images_are_turned_upright(tmp_path, suffix):
    """All orientations that EXIF has, and some that it has not, by Pillow's own reading of them."""
    blocks = np.arange(18, dtype=np.uint8).reshape(2, 3, 3).repeat(8, 0).repeat(8, 1) * 14
    (tmp_path / "a").mkdir()
    for orientation in range(11):
        exif = Image.Exif()
        exif[0x0112] = orientation
        more = {"lossless": True} if suffix == "webp" else {}
        Image.fromarray(blocks).save(tmp_path / "a" / f"{orientation:02}.{suffix}", exif=exif, **more)
    found, expected = data.ImageFolder(tmp_path), []
    for i, path in enumerate(found.paths):
        with Image.open(path) as image:
            expected.append(np.asarray(ImageOps.exif_transpose(image)).transpose(2, 0, 1) / np.float32(255))
        np.testing.assert_array_equal(found[[i]][0], expected[i])
    assert [image.shape[1:] for image in expected] == [(16, 24)] * 5 + [(24, 16)] * 4 + [(16, 24)] * 2
    assert np.abs(expected[6] - np.rot90(expected[1], -1, (1, 2))).max() < 0.1
    cut = data.ImageFolder(tmp_path, size=8)[[1, 6]]  # the size is that of the upright image
    np.testing.assert_allclose(cut[1], np.rot90(cut[0], -1, (1, 2)), atol=0.1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow's own word on it
def test_a_bad_exif_block_does_no_harm(tmp_path):
    (tmp_path / "a").mkdir()
    for i, exif in enumerate((b"Exif\0\0no TIFF at all", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*")):
        for suffix in ("jpg", "png"):
            Image.new("RGB", (6, 4), "red").save(tmp_path / "a" / f"{i}.{suffix}", exif=exif)
    assert data.ImageFolder(tmp_path)[:].shape == (6, 3, 4, 6)


def test_grey_resized_and_transformed(folder):
    root, images = folder
    whole = data.ImageFolder(root, mode="L")[:]
    expected = data.grayscale(images.transpose(0, 3, 1, 2) / 255)
    np.testing.assert_allclose(whole, expected, atol=1 / 255)
    small = data.ImageFolder(root, size=(2, 3))[:]
    assert small.shape == (3, 3, 2, 3)
    np.testing.assert_allclose(small.mean(axis=(2, 3)), images.mean(axis=(1, 2)) / 255, atol=0.1)
    normalised = data.ImageFolder(root, transform=data.MinMax(0, 2))
    np.testing.assert_array_equal(normalised[:], data.ImageFolder(root)[:] / 2)


def test_size_cuts_around_the_centre(tmp_path):
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = 255
    save(tmp_path / "a" / "wide.png", wide)
    np.testing.assert_array_equal(data.ImageFolder(tmp_path, size=8)[:], 1)


def test_it_stands_for_an_array(folder):
    root, _ = folder
    found = data.ImageFolder(root)
    score = data.ZScore().fit(found)
    np.testing.assert_allclose(score.offset, found[:].mean(axis=(0, 2, 3), dtype=np.float64), rtol=1e-12)
    batches = list(data.minibatches(found, found.labels, 2, shuffle=False))
    assert [x.shape for x, _ in batches] == [(2, 3, 4, 6), (1, 3, 4, 6)]
    part = found.subset(np.arange(3) != 1)
    assert type(type("Own", (data.ImageFolder,), {})(root).subset([0])).__name__ == "Own"
    assert part.labels.tolist() == [0, 1] and part.classes == found.classes and len(found) == 3
    np.testing.assert_array_equal(part[:], found[[0, 2]])


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "deep"])
def test_a_broken_image_is_named(folder, damage):
    root, images = folder
    path = root / "dog" / "1.bmp"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:80])
    elif damage == "deep":
        Image.fromarray(np.zeros((4, 6), np.uint16)).save(path.with_name("2.png"))
        path = path.with_name("2.png")
    else:
        path.write_text("not an image" if damage == "text" else "")
    found = data.ImageFolder(root)
    assert len(found[:2]) == 2  # the others can be read
    with pytest.raises(ValueError, match=r"(1\.bmp|2\.png) must be an image that Pillow can read: "):
        found[:]


def test_an_image_of_another_size_is_named(folder):
    root, _ = folder
    save(root / "dog" / "2.png", np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"2\.png must be 4x6 pixels .* unless size=\(.* given, got 5x6"):
        data.ImageFolder(root)[:]


def test_folders_that_are_none(tmp_path, folder):
    root, _ = folder
    with pytest.raises(ValueError, match="root must hold a subfolder of images .* got no subfolder"):
        data.ImageFolder(root / "dog")
    (root / "fish").mkdir()
    with pytest.raises(ValueError, match="for each class, got none in fish"):
        data.ImageFolder(root)
    with pytest.raises(FileNotFoundError):
        data.ImageFolder(root / "nowhere")
    with pytest.raises(NotADirectoryError):
        data.ImageFolder(root / "dog" / "1.bmp")


def test_bad_options(folder):
    root, _ = folder
    with pytest.raises(ValueError, match="mode must be one of RGB, L, got 'CMYK'"):
        data.ImageFolder(root, mode="CMYK")
    with pytest.raises(ValueError, match="size must be at least 1, got"):
        data.ImageFolder(root, size=0)
    with pytest.raises(TypeError, match="indices must be a slice or an array of ints, got 0"):
        data.ImageFolder(root)[0]
    for chosen in (0, 2.5, "a"):
        with pytest.raises(TypeError, match="chosen must be a slice or an array of ints, got"):
            data.ImageFolder(root).subset(chosen)


def test_without_pillow_the_error_names_the_extra(folder, monkeypatch):
    root, _ = folder
    hide(monkeypatch, "PIL")
    with pytest.raises(ImportError, match=r"PIL is not installed; it comes with the extra \[train\]"):
        data.ImageFolder(root)
