"""A few of the files of fuzz_files.py, which makes as many as one likes; and that it sees what it looks out for."""

import json
import os
import sys

import pytest

import fuzz_files


@pytest.mark.thorough
@pytest.mark.parametrize("count", [15, 100])
def test_files_that_lie(count):
    names = [form.name for form in fuzz_files.FORMATS]
    came = fuzz_files.run(names, 0, count)
    assert came.keys() == set(names), came
    for name in names:
        assert came[name].keys() == {"arrays", "refused"} and sum(came[name].values()) == count, came[name]


BAD_READERS = """
import json, os
from pathlib import Path
import numpy as np
import fuzz_files

form = next(form for form in fuzz_files.FORMATS if form.name == "safetensors")
content, good, results = form.join(form.seeds[0]), form.load, {}
Path("w.safetensors").write_bytes(content)

def runs(path): os.system("true")
def reads(path): open("/dev/null").close()
def writes(path): Path("w.safetensors").with_name("run").touch()
def takes(path): raise MemoryError
def changes(path): return {name: array + 1 for name, array in good(path).items()}
def casts(path): return {name: array.astype(np.float64) for name, array in good(path).items()}
def forgets(path): return dict(list(good(path).items())[1:])
def swells(path): return {"w": np.zeros(2**24 + 1, np.float32)}

watch = fuzz_files.Watch()
for bad in (good, runs, reads, takes, changes, casts, forgets, swells, writes):
    results[bad.__name__] = fuzz_files.judged(form._replace(load=bad), "w.safetensors", content, watch)
print(json.dumps(results))
"""


@pytest.mark.thorough
def test_what_a_reader_does_wrong_is_seen(python):
    done = python(BAD_READERS, PYTHONPATH=os.pathsep.join(sys.path))
    assert done.returncode == 0, done.stderr
    for name, expected in {
        "load_state": "arrays",
        "runs": 'it did ["os.system (',
        "reads": "it did [\"open ('/dev/null'",
        "writes": "and there are ['run', 'w.safetensors']",
        "takes": "MemoryError",
        "changes": "'n' has other numbers",
        "casts": "'n' is float64 (), and stated to be int64 ()",
        "forgets": "is in one alone",
        "swells": "arrays of more bytes",
    }.items():
        assert expected in json.loads(done.stdout)[name], done.stdout
