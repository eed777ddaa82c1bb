"""torchvision, on this machine: ``from torchvision_here import torchvision``."""

import ctypes
import importlib
import importlib.util
import sys
from pathlib import Path

import torch

# A torchvision built for CUDA asks for libraries that a CPU-only PyTorch has not; the environment may have stand-ins.
for library in sorted(Path(sys.prefix).glob("cuda-names/*.so*")):
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
for library in sorted(Path(importlib.util.find_spec("torchvision").origin).parent.glob("_C*.so")):
    torch.ops.load_library(str(library))

torchvision = importlib.import_module("torchvision")  # only now: it looks for its operators
