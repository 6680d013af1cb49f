"""A PostgreSQL for tests, from Debian's package; started by root, it runs as the user of that package."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integrations.label_studio.server import free_port

USER = "postgres"  # of the system, as Debian's package creates it
WAIT_S = 60.0


def find_programs() -> Path:
    """Return the folder of ``initdb`` and ``postgres``; LookupError if they are not installed."""
    if program := shutil.which("initdb"):
        return Path(program).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise LookupError("initdb is missing: install it with apt install postgresql")
    return found[-1].parent


@contextmanager
def running_postgresql() -> Iterator[dict[str, str]]:
    """Start a database server in a folder of its own; yield the settings that Label Studio needs to use it."""
    programs, port = find_programs(), free_port()
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        user = USER if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user, user)
        data = f"{folder}/data"
        subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", USER], user=user, cwd=folder, check=True)
        options = ["-D", data, "-k", folder, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        server = subprocess.Popen([programs / "postgres", *options], user=user, cwd=folder)
        try:
            wait_until_ready(programs, port)
            yield {"DJANGO_DB": "default", "POSTGRE_HOST": "127.0.0.1", "POSTGRE_PORT": str(port)}
        finally:
            server.terminate()
            server.wait(WAIT_S)


def wait_until_ready(programs: Path, port: int) -> None:
    deadline = time.monotonic() + WAIT_S
    ask = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ask, check=False).returncode:
        assert time.monotonic() < deadline, "PostgreSQL does not answer"
        time.sleep(0.2)
