"""Writes torch.pt and torch_older.pt: a state of every kind that PyTorch and NumPy both have, in PyTorch's two forms.

    PYTHONPATH=tests python tests/vectors/make_torch_files.py

needs PyTorch; the test that reads the files does not.
"""

from pathlib import Path

import torch

HERE = Path(__file__).parent
KINDS = "bool uint8 int8 int16 int32 int64 uint16 float16 bfloat16 float32 float64 complex64 complex128".split()


def main() -> None:
    numbers = torch.arange(12).reshape(3, 4)
    state = {kind: (numbers - 5).to(getattr(torch, kind)) for kind in KINDS}
    shared = torch.arange(20.0)
    state |= {"columns": shared[2:14].reshape(3, 4).T, "steps": shared[1::3], "expanded": shared[5].expand(2, 3)}
    state |= {"empty": torch.zeros(0, 3), "scalar": torch.tensor(7), "parameter": torch.nn.Parameter(torch.ones(2))}
    everything = torch.nn.BatchNorm1d(3).state_dict()  # an OrderedDict with an attribute
    everything.update(state)
    torch.save(everything, HERE / "torch.pt")
    torch.save(everything, HERE / "torch_older.pt", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
