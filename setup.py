"""The compiled half of the build; everything else is in pyproject.toml.

`src_c` becomes one static library of kernels for each instruction set and dtype, since flags can be given per library,
and one of all the rest; the extension module is linked from them. Which kernels may run is decided when convkit is
imported, so a wheel is not tied to the machine it was built on.

Threads are a pool of the library's own, and OpenMP's as well where the compiler has it; CONVKIT_BUILD_OPENMP=1
insists on it, 0 builds without.
"""

import os
import platform
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

# Contraction makes fused multiply-adds, half of the speed, out of a * b + c; it needs gnu11, because -std=c11 turns it
# off. Nothing that relaxes arithmetic further belongs here: the worst of those flags change the floating-point mode of
# the whole process when the library is loaded. Nor does anything that ties the build to this machine's CPU.
CFLAGS = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
CFLAGS += ["-fvisibility=hidden", "-g0", "-Wall", "-Wextra", "-Wmissing-prototypes"]
CFLAGS += ["-Werror=implicit-function-declaration"]
# Some systems' Python asks for guards of arrays on the stack, others' do not: 24 KB of a wheel of 2 MB.
CFLAGS += ["-fno-stack-protector"]
if platform.machine().lower() in ("x86_64", "amd64"):
    # GCC moves a double by way of an MMX register where others are short, and leaves the x87 unit in that state: the
    # next fmod of the process, NumPy's or Python's, is NaN.
    CFLAGS += ["-mno-mmx"]

ISA_CFLAGS = {
    "generic": [],
    "neon": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"],
}
ISAS = {
    "x86_64": ["generic", "avx2", "avx512"],
    "amd64": ["generic", "avx2", "avx512"],
    "aarch64": ["generic", "neon"],
    "arm64": ["generic", "neon"],
}.get(platform.machine().lower(), ["generic"])

# Loops begin with a cache line: a micro-kernel's speed moved by 2 to 4 % with any change of the code before it. A wheel
# is of 2 MB at most (tests/test_build.py), and most of that are kernels. They have no tables to unwind by, 40 KB: a
# debugger names the one that it stops in, but not the callers. On x86, those for CPUs without AVX2 are made small, a
# third of their size: dense layers take 1.02 times as long, depthwise ones 0.9 to 1.3 times.
KERNEL_CFLAGS = ["-falign-loops=64", "-fno-asynchronous-unwind-tables"]
if len(ISAS) > 1:
    ISA_CFLAGS["generic"] = ["-Os"]
# What GCC alone knows. A pass that copies loops is off, 5 KB a library: nothing was faster with it (Zen 4; without
# split-paths AVX2's nearest neighbours take 1.2 times as long). What is no loop begins anywhere, 7 KB in all. Nor are
# small calls (1x1x8x8; 64 to 10) faster where Cython's helpers are inlined everywhere, which is 25 KB, or where the
# drivers' short loops are cut for vectors and conditions, 14 KB. (With -O2, 13 KB less, they take 1.03 times as long.)
GCC_CFLAGS = ["-fno-split-loops", "-fno-align-functions", "-fno-align-jumps"]
GCC_CORE_CFLAGS = ["-fno-tree-vectorize", "-fno-unswitch-loops", "-fno-ipa-cp-clone"]
GCC_CYTHON_CFLAGS = ["--param=max-inline-insns-single=20", "--param=inline-unit-growth=5"]
GCC_CYTHON_CFLAGS += ["-fno-align-functions", "-fno-align-jumps", "-fno-align-loops", "-fno-align-labels"]

OPENMP_PROBE = """
#include <omp.h>
int main(void) {
  int threads = 0;
#pragma omp parallel reduction(+ : threads)
  threads += omp_get_num_threads() > 0;
  return threads == 0;
}
"""
OPENMP_FLAGS = [(["-fopenmp"], ["-fopenmp"])]  # (compiling, linking)
if sys.platform == "darwin":
    OPENMP_FLAGS.append((["-Xpreprocessor", "-fopenmp"], ["-lomp"]))


def builds(compiler, source, compile_flags, link_flags):
    """Whether the compiler makes a program of `source`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe.c")
        path.write_text(source)
        try:
            objects = compiler.compile([str(path)], output_dir=folder, extra_postargs=compile_flags)
            compiler.link_executable(objects, "probe", output_dir=folder, extra_postargs=link_flags)
        except (CompileError, LinkError):
            return False
        return True


def takes(compiler, flags):
    """Whether the compiler has these flags, and no warning to give."""
    return builds(compiler, "int main(void) { return 0; }", ["-Werror", *flags], [])


def choose_threading(compiler):
    """Flags for threads, for compiling and for linking."""
    wanted = os.environ.get("CONVKIT_BUILD_OPENMP", "")
    if wanted not in ("", "0", "1"):
        raise SystemExit(f"CONVKIT_BUILD_OPENMP must be 0 or 1, got {wanted!r}")
    if wanted != "0":
        for compile_flags, link_flags in OPENMP_FLAGS:
            if builds(compiler, OPENMP_PROBE, compile_flags, link_flags):
                return ["-DCK_HAVE_OPENMP", "-pthread", *compile_flags], ["-pthread", *link_flags]
        if wanted:
            raise SystemExit("CONVKIT_BUILD_OPENMP=1, but the compiler cannot build an OpenMP program")
    return ["-pthread"], ["-pthread"]


def static_libraries():
    """(name, build_info) of each; the core first, as it refers to the others."""
    core = [f"-DCK_HAVE_{isa.upper()}" for isa in ISAS]
    sources = sorted(set(glob("src_c/*/*.c")) - set(glob("src_c/kernels/*.c")))
    libraries = [("ck_core", {"sources": sources, "cflags": CFLAGS + core})]
    for isa in reversed(ISAS):  # the longest to compile first
        for dtype in ("f32", "f64"):
            sources, flags = [f"src_c/kernels/{isa}_{dtype}.c"], CFLAGS + KERNEL_CFLAGS + ISA_CFLAGS[isa]
            libraries.append((f"ck_{isa}_{dtype}", {"sources": sources, "cflags": flags}))
    for _, build_info in libraries:
        build_info["include_dirs"] = ["src_c"]
    return libraries


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class BuildLibraries(build_clib):
    """Compiles on all cores, and again whenever a header, a flag or the compiler has changed."""

    def build_libraries(self, libraries):
        compile_flags, self.link_flags = choose_threading(self.compiler)
        core = libraries[0][1]
        core["cflags"] = [*core["cflags"], *compile_flags]
        if takes(self.compiler, GCC_CFLAGS):
            for _, build_info in libraries:
                build_info["cflags"] = [*build_info["cflags"], *GCC_CFLAGS]
            core["cflags"] += GCC_CORE_CFLAGS
        headers = sorted(glob("src_c/**/*.h", recursive=True)) + [self._settings(libraries)]
        for archive in Path(self.build_clib).glob("*.a"):
            archive.unlink()  # or what has gone from the sources would stay in it
        for _, build_info in libraries:
            build_info["obj_deps"] = {"": headers}
        build_one = super().build_libraries
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(lambda library: build_one([library]), libraries))

    def _settings(self, libraries):
        """A file that is rewritten only if what it says changes, so that objects can depend on it."""
        path = Path(self.build_temp, "settings.txt")
        text = f"{self.compiler.compiler_so}\n{[(name, info['cflags']) for name, info in libraries]}\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        return str(path)


class BuildExtension(build_ext):
    """Translates the Cython, and links again whenever a static library is newer."""

    def run(self):
        self.run_command("build_clib")
        super().run()

    def build_extensions(self):
        import numpy as np
        from Cython.Build import cythonize

        libraries = self.get_finalized_command("build_clib")
        for extension in self.extensions:
            extension.sources = cythonize([extension], build_dir=os.path.join(self.build_temp, "cython"))[0].sources
            extension.include_dirs.append(np.get_include())
            extension.depends += glob(os.path.join(libraries.build_clib, "*.a"))
            extension.extra_link_args += libraries.link_flags
            if takes(self.compiler, GCC_CYTHON_CFLAGS):
                extension.extra_compile_args += GCC_CYTHON_CFLAGS
        super().build_extensions()


ENGINE = Extension(
    "convkit._ext.engine",
    ["convkit/_ext/engine.pyx"],
    depends=["src_c/convkit.h"],
    include_dirs=["src_c"],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    extra_compile_args=["-std=gnu11", "-O2", "-g0", "-fvisibility=hidden", "-fno-stack-protector"],
    # Debugging information goes, names stay: profilers, back-traces and the tests' disassembly read them.
    extra_link_args=["-Wl,-S", "-lm"],
)

if __name__ == "__main__":
    setup(
        libraries=static_libraries(),
        ext_modules=[ENGINE],
        cmdclass={"build_clib": BuildLibraries, "build_ext": BuildExtension},
    )
