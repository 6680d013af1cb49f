"""A local Label Studio: started in a folder, without telemetry, and stopped when the program ends.

It is for one annotator, demonstrations and tests; SQLite and Django's threaded server are too slow for a team.
"""

from __future__ import annotations

import ctypes
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from clickpose.errors import LabelStudioError

START_LIMIT_S = 180.0  # a first start takes 30 s on an idle machine, most of it database migrations
STOP_LIMIT_S = 10.0
LAST_LINES = 5  # of the log, shown when it does not start
SETTINGS = ("LABEL_STUDIO_", "HEARTEX_")
PR_SET_PDEATHSIG = 1  # prctl(2)

logger = logging.getLogger(__name__)


class LabelStudioServer:
    """Context manager around a real Label Studio server.

    Args:
        folder: holds database, uploads and log; made if missing. A second start in the same folder finds the
            projects of the first, and takes 3 instead of 30 seconds.
        files: folder whose sub-folders local-files storages may serve; None means ``folder / "files"``.
        port: None picks a free one.
        start_limit_s: how long the server may take to answer.
        program: Label Studio's; None is the one that is installed beside this Python.
        settings: further environment variables, such as those of another database.

    Attributes:
        url: of the server, without a slash at the end.
        token: legacy API token of the one user, 40 hexadecimal digits.
        username: e-mail address of that user.
        password: of that user.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        files: str | Path | None = None,
        port: int | None = None,
        start_limit_s: float = START_LIMIT_S,
        program: str | Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        self.files = Path(files).resolve() if files else self.folder / "files"
        self.port = port or free_port()
        self.start_limit_s = start_limit_s
        self.program = Path(program).absolute() if program else Path(sys.executable).with_name("label-studio")
        self.url = f"http://127.0.0.1:{self.port}"
        self.username = "annotator@example.com"
        self.token = self._kept_secret("token", lambda: secrets.token_hex(20))
        self.password = self._kept_secret("password", lambda: secrets.token_urlsafe(12))
        self.settings = dict(settings or {})
        self.log_path = self.folder / "label-studio.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LabelStudioServer:
        """Start the server and wait until it answers.

        Raises:
            LabelStudioError: it is not installed, crashed, or did not answer in time.
        """
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers; see ``__enter__``."""
        self.launch()
        self.wait_until_up()

    def launch(self) -> None:
        """Start the server without waiting; LabelStudioError if it is not installed."""
        if not self.program.exists():
            raise LabelStudioError(f"{self.program} is missing: install it with pip install 'clickpose[demo]'")
        self.files.mkdir(parents=True, exist_ok=True)
        command = [str(self.program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(self.port)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,  # its own process group, which stop() ends as a whole
                preexec_fn=_dying_with_parent() if sys.platform == "linux" else None,
            )

    def wait_until_up(self) -> None:
        """Wait until a launched server answers; stop it if it does not."""
        try:
            self._wait_for_answer(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and all its child processes; a second call does nothing."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(STOP_LIMIT_S)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                logger.warning("Label Studio (process group %d) ignores %s", self._process.pid, number.name)
        self._process.wait()
        self._process = None

    def environment(self) -> dict[str, str]:
        """Return the settings: one local user, local files, private backends and webhooks, no calls to the outside.

        Inherited settings of another Label Studio are removed.
        """
        ours = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        return ours | {
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder),
            "DJANGO_DB": "sqlite",
            "LABEL_STUDIO_USERNAME": self.username,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LABEL_STUDIO_USER_TOKEN": self.token,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
            "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false",
            "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
            "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(self.files),
            **self.settings,
        }

    def _wait_for_answer(self, process: subprocess.Popen[bytes] | None) -> None:
        deadline = time.monotonic() + self.start_limit_s
        while time.monotonic() < deadline:
            if process is None or process.poll() is not None:
                status = "" if process is None else f" with status {process.returncode}"
                raise LabelStudioError(f"Label Studio ended{status}: see {self.log_path}{self._last_lines()}")
            if self._is_up():
                return
            time.sleep(0.25)
        waited = f"Label Studio did not answer within {self.start_limit_s:.0f} s: see {self.log_path}"
        raise LabelStudioError(waited + self._last_lines())

    def _last_lines(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "".join(f"\n    {line}" for line in lines)

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=2.0, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _kept_secret(self, name: str, make: Callable[[], str]) -> str:
        """Return the folder's secret of that name, readable by its owner only; the database contains it as well."""
        path = self.folder / f".{name}"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(make())
        return path.read_text()


def free_port() -> int:
    """Return a TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _dying_with_parent() -> Callable[[], None]:
    """Return a function for a new process that makes Linux end it when the thread that started it ends."""
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork, after which little is safe

    def ask_linux() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask_linux
