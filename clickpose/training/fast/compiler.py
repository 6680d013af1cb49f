"""From a C++ file to a shared library in the user's cache, once for each source and processor."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)

# No -ffast-math: a NaN must stay one. What remains of it lets sums over channels use vectors.
FLAGS = (
    "-O3",
    "-mprefer-vector-width=512",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-pthread",
)


class CannotCompile(Exception):
    """There is no compiler, or it failed; the message says which."""


def compile_library(source: Path) -> Path:
    """Return the compiled form of a source file, compiling it unless the cache holds it.

    Several processes may call this at once: each compiles into a folder of its own, and the library appears in the
    cache whole or not at all. If the cache cannot be written, the library is kept in a temporary folder.

    Raises:
        CannotCompile: no ``c++`` is installed, or it failed.
    """
    name = f"{source.stem}-{_fingerprint(source)}.so"
    if (library := _cache() / name).exists():
        return library
    folder = Path(tempfile.mkdtemp(prefix="clickpose-"))
    _compile(source, folder / name)
    return _keep(folder / name)


def _compile(source: Path, library: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        raise CannotCompile("no c++ compiler is installed")
    logger.info("compiling %s, once", source.name)
    done = subprocess.run([compiler, *FLAGS, str(source), "-o", str(library)], capture_output=True, text=True)
    if done.returncode:
        raise CannotCompile(f"{compiler} failed on {source.name}: {done.stderr.strip()[:500]}")


def _keep(library: Path) -> Path:
    """Move a new library into the cache, if that can be written to."""
    kept = _cache() / library.name
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.parent / library.parent.name  # which no other process has
        shutil.copy(library, partial)
        partial.replace(kept)
    except OSError as error:
        logger.info("%s cannot be cached, so every process compiles it again: %s", library.name, error)
        return library
    shutil.rmtree(library.parent)
    return kept


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clickpose"


def _fingerprint(source: Path) -> str:
    """Return a hash of source, flags and processor, as several machines may share a home folder."""
    parts = (source.read_text(), *FLAGS, platform.platform(), _processor_features())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor_features() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else [platform.processor()]
    return next((line for line in lines if line.startswith(("flags", "Features"))), lines[0] if lines else "")
