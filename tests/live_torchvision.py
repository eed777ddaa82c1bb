"""torchvision, imported also where it was built for CUDA and only a PyTorch without it is there."""

import ctypes
import importlib.util
import sys
from pathlib import Path

import torch

# Such a torchvision asks for libraries that a CPU-only PyTorch has not; the environment may have stand-ins.
for library in sorted(Path(sys.prefix).glob("cuda-names/*.so*")):
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
for library in sorted(Path(importlib.util.find_spec("torchvision").origin).parent.glob("_C*.so")):
    torch.ops.load_library(str(library))

import torchvision  # noqa: E402, F401 - once its operators are there: it looks for them
