"""Builds the kernels (one extension) and, where asked or for a wheel, the compiled engine.

MINIGRAD_NO_EXTENSION=1       pure NumPy package, no compiler needed
MINIGRAD_COMPILE_ENGINE=0|1   compile the engine's three files; by default wheels do, editable installs do not
MINIGRAD_SANITIZE=1           our C under AddressSanitizer and UBSan
MINIGRAD_EMULATE_AVX512=1     the avx512 target spelled out by SIMDe, to test it on other processors
"""

import os
import sys

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ENGINE = ("tensor", "operations", "autograd")
KERNELS = "minigrad.kernels._binding"
SOURCES = ["walk", "memory", "replay", "threads", "dispatch", "target_portable", "target_avx2", "target_avx512"]


def flag(name):
    return os.environ.get(name, "") not in ("", "0")


UNIX = os.name == "posix"
OWN_FLAGS = []
LINK_FLAGS = ["-pthread"] if UNIX else []
if UNIX:
    OWN_FLAGS = ["-std=gnu11", "-O3", "-fvisibility=hidden", "-pthread"]
    OWN_FLAGS += ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
    OWN_FLAGS += ["-Wall", "-Wextra", "-Werror"]
    if flag("MINIGRAD_EMULATE_AVX512"):  # SIMDe passes wide vectors without an ABI for them, and -O3 takes minutes
        OWN_FLAGS += ["-DMINIGRAD_EMULATE_AVX512", "-Wno-psabi", "-O1"]
    if flag("MINIGRAD_SANITIZE"):  # Python's own -fwrapv would hide overflows
        sanitize = ["-g", "-O1", "-fno-wrapv", "-fsanitize=address,undefined,float-cast-overflow"]
        sanitize += ["-fno-sanitize-recover=all"]
        OWN_FLAGS += sanitize
        LINK_FLAGS += sanitize


class BuildExt(build_ext):
    """Compiles csrc/ with our own flags, warnings as errors, apart from the generated C."""

    def finalize_options(self):
        super().finalize_options()
        chosen = os.environ.get("MINIGRAD_COMPILE_ENGINE", "")
        compiled = chosen != "0" if chosen else not (self.editable_mode or self.inplace)
        if not compiled:
            self.extensions = [e for e in self.extensions if e.name == KERNELS]

    def build_extension(self, ext):
        if ext.name == KERNELS:
            own = [f"csrc/{name}.c" for name in SOURCES]
            ext.extra_objects = self.compiler.compile(own, output_dir=self.build_temp, extra_postargs=OWN_FLAGS)
        super().build_extension(ext)


def extensions():
    if flag("MINIGRAD_NO_EXTENSION") or not UNIX:  # the kernels are written for gcc and clang
        return []
    headers = ["csrc", numpy.get_include()]
    define = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION")]
    depends = ["minigrad/kernels/kernels.def"]
    depends += [f"csrc/{name}" for name in sorted(os.listdir("csrc"))]
    kernels = Extension(
        KERNELS,
        ["minigrad/kernels/_binding.pyx"],
        include_dirs=headers,
        define_macros=define,
        depends=depends,
        extra_link_args=LINK_FLAGS,
    )
    engine = [Extension(f"minigrad.{name}", [f"minigrad/{name}.py"]) for name in ENGINE]
    directives = {"language_level": 3, "annotation_typing": False, "binding": True}
    return cythonize([kernels, *engine], compiler_directives=directives, build_dir="build/cython")


if sys.byteorder != "little" and not flag("MINIGRAD_NO_EXTENSION"):
    raise SystemExit("the C kernels need a little-endian processor; set MINIGRAD_NO_EXTENSION=1")

setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
