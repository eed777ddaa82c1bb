"""Which kernels run where: the decision, on machines that need not exist, and what the user may say about it."""

import numpy as np
import pytest

import convkit
from convkit._ext import engine

FMA, OSXSAVE, AVX = 1 << 12, 1 << 27, 1 << 28  # leaf 1, ecx
AVX2, F, DQ, BW, VL = 1 << 5, 1 << 16, 1 << 17, 1 << 30, 1 << 31  # leaf 7, ebx
LEAF1 = FMA | OSXSAVE | AVX
AVX512 = F | DQ | BW | VL
ALL = AVX2 | AVX512

# name: leaf 1 ecx, leaf 7 ebx, XCR0, what must be chosen
MACHINES = {
    "AVX-512, everything on": (LEAF1, ALL, 0xE7, "avx512"),
    "every bit there is": (2**32 - 1, 2**32 - 1, 2**64 - 1, "avx512"),
    "AVX-512 and AMX": (LEAF1, ALL, 0x600E7, "avx512"),
    "AVX-512 and MPX": (LEAF1, ALL, 0xFF, "avx512"),
    "AVX2 alone": (LEAF1, AVX2, 0x7, "avx2"),
    "AVX2, system ready for AVX-512": (LEAF1, AVX2, 0xE7, "avx2"),
    "AVX-512, system saves 32-byte vectors only": (LEAF1, ALL, 0x7, "avx2"),
    "AVX-512, system saves masks only": (LEAF1, ALL, 0x27, "avx2"),
    "AVX-512, without the upper sixteen registers": (LEAF1, ALL, 0x67, "avx2"),
    "AVX-512, without the upper halves": (LEAF1, ALL, 0xA7, "avx2"),
    "Knights Landing: F alone": (LEAF1, AVX2 | F, 0xE7, "avx2"),
    "no VL": (LEAF1, ALL & ~VL, 0xE7, "avx2"),
    "no DQ": (LEAF1, ALL & ~DQ, 0xE7, "avx2"),
    "no BW": (LEAF1, ALL & ~BW, 0xE7, "avx2"),
    "no F": (LEAF1, ALL & ~F, 0xE7, "avx2"),
    "OSXSAVE off": (LEAF1 & ~OSXSAVE, ALL, 0, "generic"),
    "OSXSAVE off, XCR0 read all the same": (LEAF1 & ~OSXSAVE, ALL, 0xE7, "generic"),
    "virtual machine with AVX2 but no AVX": (LEAF1 & ~AVX, ALL, 0xE7, "generic"),
    "AVX2 without FMA": (LEAF1 & ~FMA, AVX2, 0x7, "generic"),
    "AVX-512 without FMA": (LEAF1 & ~FMA, ALL, 0xE7, "generic"),
    "AVX-512 without AVX2": (LEAF1, AVX512, 0xE7, "generic"),
    "Piledriver: AVX and FMA, no AVX2": (LEAF1, 0, 0x7, "generic"),
    "Sandy Bridge: AVX alone": (OSXSAVE | AVX, 0, 0x7, "generic"),
    "system saves no vectors of 32 bytes": (LEAF1, ALL, 0x3, "generic"),
    "system saves upper halves but not the lower": (LEAF1, ALL, 0x5, "generic"),
    "AVX-512's registers without AVX's": (LEAF1, ALL, 0xE1, "generic"),
    "SSE2 and nothing else": (0, 0, 0, "generic"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_synthetic_machines(machine):
    leaf1, leaf7, xcr0, expected = MACHINES[machine]
    assert engine.isa_from_cpu(leaf1, leaf7, xcr0) == expected


def test_available_are_built_and_rise_to_the_best():
    available = engine.available_isas()
    assert available[0] == "generic"
    assert set(available) <= set(engine.built_isas())
    order = ["generic", "neon", "avx2", "avx512"]
    assert list(available) == sorted(available, key=order.index)


def test_set_isa_holds(isa):
    assert convkit.isa() == isa
    x, weight = np.ones((1, 3, 5, 5), np.float32), np.ones((2, 3, 3, 3), np.float32)
    assert (convkit.conv2d(x, weight) == 27).all()
    assert convkit.isa() == isa


@pytest.mark.parametrize("name", ["", "AVX2", "sse2", "avx1024", "generic "])
def test_set_isa_refuses_unknown_names(name):
    before = convkit.isa()
    with pytest.raises(ValueError, match=r"name must be an instruction set available here \('generic'.*got '"):
        convkit.set_isa(name)
    assert convkit.isa() == before


@pytest.mark.parametrize("name", [None, 2, b"generic"])
def test_set_isa_refuses_other_types(name):
    with pytest.raises(TypeError, match="name must be a str, got"):
        convkit.set_isa(name)


# ---------------------------------------------------------------- CONVKIT_ISA

SHOW = "' '.join((convkit.isa(), *convkit.available_isas()))"


def shown(imports, *values):
    """What the variable at each of these values makes of the instruction sets: in force, and then the available."""
    return [text.split() for text in imports(*((SHOW, {"CONVKIT_ISA": value}) for value in values))]


@pytest.mark.thorough
def test_an_empty_variable_is_none(imports):
    best = engine.available_isas()[-1]
    assert shown(imports, "", "  ") == [[best, *engine.available_isas()]] * 2


@pytest.mark.thorough
def test_the_variable_caps(imports):
    available = engine.available_isas()
    expected = [[cap, *available[: available.index(cap) + 1]] for cap in available]
    assert shown(imports, *available) == expected


@pytest.mark.thorough
def test_set_isa_stays_under_the_cap(imports):
    """Whether this machine has what is above it or not."""
    names = ("neon", "avx2", "avx512")
    texts = imports(*((f"convkit.set_isa({above!r})", {"CONVKIT_ISA": "generic"}) for above in names))
    for above, text in zip(names, texts, strict=True):
        assert text == f"ValueError: name must be an instruction set available here ('generic'), got {above!r}"


@pytest.mark.thorough
def test_an_unknown_or_unavailable_name_fails_the_import(imports):
    missing = next(name for name in ("neon", "avx2") if name not in engine.available_isas())  # no machine has both
    values = ("sse2", "AVX2", "avx512 avx2", "-1", missing)
    for value, text in zip(values, imports(*((SHOW, {"CONVKIT_ISA": value}) for value in values)), strict=True):
        assert text.startswith("RuntimeError: CONVKIT_ISA must be an instruction set available here ('generic'")
        assert text.endswith(f"got {value!r}")


@pytest.mark.thorough
def test_a_process_starts_with_what_the_variable_says(python):
    done = python("import convkit; print(convkit.isa())", CONVKIT_ISA="generic")
    assert done.stdout == "generic\n"
    done = python("import convkit", CONVKIT_ISA="sse2")
    assert done.returncode == 1
    assert "RuntimeError: CONVKIT_ISA must be" in done.stderr
