"""The built package: what importing it does, and what is in its machine code."""

import hashlib
import importlib.metadata
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

import convkit
from convkit._ext import engine


def test_version_is_the_distributions():
    assert importlib.metadata.version("convkit") == convkit.__version__


@pytest.mark.thorough
def test_import_needs_numpy_alone(python):
    done = python("""
import sys, numpy
before = set(sys.modules)
import convkit
roots = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*(name for name in roots - sys.stdlib_module_names if not name.startswith(("_cython", "cython_runtime"))))
""")
    assert done.stdout.split() == ["convkit"], done.stderr


@pytest.mark.thorough
def test_import_gives_no_warning(python):
    done = python("import convkit", "-W", "error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.thorough
@pytest.mark.parametrize("name", convkit.available_isas())
def test_subnormal_numbers_survive(python, name):
    """A library built with relaxed arithmetic would turn them off for the whole process, on every thread."""
    done = python(f"""
import sys, threading
import convkit, numpy as np
convkit.set_isa({name!r})
ok = []
def check():
    x = np.full((4, 8, 32, 32), 2.0**-1070)
    y = convkit.conv2d(x, np.ones((8, 8, 3, 3)), padding=1)
    ok.append(sys.float_info.min / 2 != 0 and (y[:, :, 1:-1, 1:-1] == 72 * 2.0**-1070).all())
check()
thread = threading.Thread(target=check)
thread.start()
thread.join()
print(*ok)
""")
    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.thorough
def test_wheel_is_small_enough_to_ship(tmp_path):
    """As pip makes one: the package's files, README as the metadata, and the list of all of them with their digests."""
    package, readme = Path(convkit.__file__).parent, Path(__file__).parents[1] / "README.md"
    built = (".py", ".pyi", ".typed", ".npz", ".txt", Path(engine.__file__).suffix)
    files = {str(path.relative_to(package.parent)): path for path in package.rglob("*") if path.suffix in built}
    files["convkit.dist-info/METADATA"] = readme
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:43] for name, path in files.items()}
    record = "".join(f"{name},sha256={digest},{files[name].stat().st_size}\n" for name, digest in digests.items())
    wheel = tmp_path / "convkit.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            archive.write(path, name)
        archive.writestr("convkit.dist-info/RECORD", record)
    assert wheel.stat().st_size <= 2 * 2**20


# ---------------------------------------------------------------- machine code


@pytest.fixture(scope="module")
def functions():
    """Name of a function in the extension module: its instructions."""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", "--wide", engine.__file__]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found, body = {}, []
    for line in text.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            body = found.setdefault(head[1].partition(".")[0], [])  # a compiler's clone is f.constprop.0 and the like
        elif instruction := re.match(r"\s+[0-9a-f]+:\s+(.*)", line):
            body.append(instruction[1])
    return found


@pytest.mark.thorough
def test_no_register_is_shared_with_the_x87_unit(functions):
    """After an MMX instruction fmod is NaN, NumPy's, too. The compiler has used one where registers were short."""
    assert functions
    assert not [name for name, body in functions.items() if any(re.search(r"%mm[0-7]", line) for line in body)]


FUSED = {"avx2": r"vfn?madd.*%ymm", "avx512": r"vfn?madd.*%zmm", "neon": r"fmla\s"}
BUILT_FUSED = [name for name in engine.built_isas() if name in FUSED]


def _kernels(functions, name, dtype):
    """(family, height, vectors, instructions) of each micro-kernel of an instruction set and dtype."""
    for function, body in functions.items():
        if kernel := re.fullmatch(rf"ck_(rows|group|lanes)_(\d+)(?:x(\d+))?_{dtype}__{name}", function):
            yield kernel[1], int(kernel[2]), int(kernel[3] or 1), body


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_micro_kernels_are_fused_multiply_adds(functions, dtype):
    """One for each accumulator at least: a flag that turns contraction off costs half of the speed, silently."""
    for name in BUILT_FUSED:
        kernels = list(_kernels(functions, name, dtype))
        tallest = 6 if name == "avx2" else 14
        assert {(family, height) for family, height, _, _ in kernels} == {
            (family, height) for family in ("rows", "group", "lanes") for height in range(1, tallest + 1)
        }
        for family, height, vectors, body in kernels:
            fused = sum(bool(re.match(FUSED[name], line)) for line in body)
            assert fused >= height * vectors, (name, family, height, vectors)


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_the_peaks_loop_is_nothing_else(functions, dtype):
    for name in BUILT_FUSED:
        body = functions[f"ck_fma_burst_{dtype}__{name}"]
        fused = [i for i, line in enumerate(body) if re.match(FUSED[name], line)]
        assert len(fused) >= (12 if name == "avx2" else 24), name
        loop = body[fused[0] : fused[-1] + 1]
        assert len(loop) <= len(fused) + 2, name  # counting
        assert not any(re.search(r"[(\[]", line) for line in loop), name  # and no memory


@pytest.mark.thorough
def test_portable_code_is_portable(functions):
    """Outside the kernels of AVX there is no instruction of AVX: neither from a flag, nor merged in by the linker."""
    for function, body in functions.items():
        if not function.endswith(("__avx2", "__avx512")):
            assert not [line for line in body if re.match(r"v(?!err|erw)\w+ .*%[xyz]mm|k\w+ .*%k\d", line)], function


@pytest.mark.thorough
def test_avx2_kernels_have_no_avx512(functions):
    avx2 = {function: body for function, body in functions.items() if function.endswith("__avx2")}
    assert bool(avx2) == ("avx2" in engine.built_isas())
    for function, body in avx2.items():
        assert not [line for line in body if re.search(r"%zmm|%k\d|%[xy]mm(1[6-9]|[23]\d)", line)], function


@pytest.mark.thorough
def test_nothing_sets_the_floating_point_mode(functions):
    """But what flush_denormals asks for; nothing does when the library is loaded."""
    setting = re.compile(r"ldmxcsr|msr\s+fpcr")
    found = {function for function, body in functions.items() if any(setting.search(line) for line in body)}
    assert found == {"ck_float_mode_flush", "ck_float_mode_restore"}
