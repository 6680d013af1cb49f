"""Chromium for tests in a browser: whichever is there, else one that is fetched, once and within a time."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROGRAM = "TEST_LABEL_STUDIO"  # environment variable: the program of a Label Studio to test with
WAIT_MS = 120_000  # a busy machine takes its time
FETCH_S = 300  # for each of the two ways; without a network both give up by themselves within a minute
APT = "apt-get -o Acquire::Retries=1 -o Acquire::http::Timeout=15 -o DPkg::Lock::Timeout=30"


def find_chromium() -> str:
    """Return Chromium's program, fetched if need be: Debian's package if we may install it, else Playwright's own.

    Raises:
        LookupError: there is none, and none can be had.
    """
    found = _find_or_fetch()
    if found is None:
        raise LookupError("there is no Chromium: apt-get install chromium, or playwright install --with-deps chromium")
    return found


@cache
def _find_or_fetch() -> str | None:
    found = _installed() or _from_playwright()
    if found is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        _try("sh", "-c", f"{APT} update -q && DEBIAN_FRONTEND=noninteractive {APT} install -y -q chromium")
        found = _installed()
    if found is None:
        _try(sys.executable, "-m", "playwright", "install", "chromium")
        found = _from_playwright()
    return found


def _installed() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def _from_playwright() -> str | None:
    playwright = importlib.import_module("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        program = driver.chromium.executable_path
    return program if Path(program).exists() else None


def _try(*command: str) -> None:
    """Run a command, and say so; whether it helped shows elsewhere."""
    print(f"no Chromium yet, trying: {' '.join(command)}", file=sys.__stderr__, flush=True)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=FETCH_S, check=False)
        said = "" if done.returncode == 0 else (done.stderr or done.stdout).decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    for line in said.strip().splitlines()[:3]:
        print(f"  {line}", file=sys.__stderr__, flush=True)
