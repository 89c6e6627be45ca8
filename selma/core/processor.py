"""Pins the instruction set, so that every x86-64 processor with AVX2 computes the same bytes."""

import logging
import os
import platform
import re
import sys
from pathlib import Path

from selma.core.errors import ConfigError

logger = logging.getLogger(__name__)

# What the libraries read when they are loaded. MKL's own AVX2 kernels differ between Intel and AMD;
# its compatible ones are slow, which is why `selma.core.kernels` avoids them. OpenBLAS (numpy and
# scipy) also splits its sums by the number of cores.
PINNED = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
}
NUMERICAL_LIBRARIES = ("numpy", "torch")  # scipy loads numpy
NEEDED_FEATURES = {"avx2", "fma"}
CPUINFO = Path("/proc/cpuinfo")


def pin_processor() -> None:
    """Pin numpy, scipy and torch, in this process and its children, to what AVX2 offers.

    Sets the environment `PINNED` over whatever is there. A processor without AVX2 is left as it is,
    with a warning. What runs on a GPU is not touched by it.

    Raises:
        ConfigError: numpy or torch is already loaded, with other kernels.
    """
    if is_pinned():
        return
    missing = missing_for_pin()
    if missing:
        logger.warning(
            "this processor has no %s: results may differ from other machines' in their last bits; "
            "same_bytes: false in params.yaml says that this is meant",
            missing,
        )
        return
    loaded = [name for name in NUMERICAL_LIBRARIES if name in sys.modules]
    if loaded:
        raise ConfigError(
            f"the instruction set cannot be pinned: {' and '.join(loaded)} is already loaded; "
            "call pin_processor() before the first import of numpy and torch, or set "
            + " ".join(f"{name}='{value}'" for name, value in PINNED.items())
        )
    os.environ.update(PINNED)


def pin_unless_off(params: Path) -> None:
    """Pin the processor unless a params.yaml says ``same_bytes: false`` at its top level.

    Only that line is looked at: it is needed before anything else is loaded, and whatever is wrong
    with the file is reported where it is read.

    Raises:
        ConfigError: see `pin_processor`.
    """
    text = params.read_text(encoding="utf-8", errors="replace") if params.is_file() else ""
    if not re.search(r"^same_bytes\s*:\s*(?i:false)\b", text, re.MULTILINE):
        pin_processor()


def is_pinned() -> bool:
    """Whether the environment holds all of `PINNED`, be it from `pin_processor` or from outside."""
    return all(os.environ.get(name) == value for name, value in PINNED.items())


def missing_for_pin() -> str:
    """Name what this processor lacks to be pinned; empty if it lacks nothing.

    Where the operating system does not list the features, an x86-64 processor passes.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "x86-64 instructions"
    try:
        found = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return ""
    missing = NEEDED_FEATURES - set(found[1].split()) if found else set()
    return " and ".join(sorted(name.upper() for name in missing))
