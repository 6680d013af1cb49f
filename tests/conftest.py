"""Ray, and a browser, for every test that needs the real one."""

import gc
import importlib
import os
import shutil

os.environ.update(  # before Ray and torch are imported: the home folder stays untouched, and training answers quickly
    OMP_NUM_THREADS="1",  # tests run in as many processes as there are cores
    RAY_AUTH_MODE="disabled",
    RAY_USAGE_STATS_ENABLED="0",
    RAY_SERVE_LOG_TO_STDERR="0",
    RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S="60",  # a busy machine is no reason to start again
    RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.2",
    RAY_TRAIN_ENABLE_PREEMPTION_WATCHER="0",
    RAY_TRAIN_ENABLE_PRINT_PATCH="0",
)

from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from integrations.label_studio.server import LabelStudioServer
from serve.haproxy import haproxy_settings
from tests.browser import PROGRAM, WAIT_MS, find_chromium

gc.disable()  # while a million objects are imported that stay: it would look through them again and again


def pytest_collection_finish() -> None:
    """Collect garbage now and then, but spare what was imported: Ray Train calls the collector at every start."""
    gc.freeze()
    gc.set_threshold(50_000)  # instead of 700: a tenth of all time goes into looking
    gc.enable()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A small Ray for all tests that need a real one; what the code under test started is used as it is.

    Four logical CPUs, whatever the machine has, so that nothing waits for room.
    """
    import ray

    ours = not ray.is_initialized()
    if ours:
        root = str(Path(__file__).parents[1])
        with pytest.MonkeyPatch.context() as only_here:  # a service that a test starts beside has ports of its own
            for name, value in haproxy_settings().items():
                only_here.setenv(name, value)
            ray.init(
                num_cpus=4,
                include_dashboard=False,
                object_store_memory=200 * 2**20,
                log_to_driver=False,
                runtime_env={"env_vars": {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}},
            )
    yield
    if ours:
        ray.shutdown()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Chromium's program; without one, the reason is shown."""
    try:
        return find_chromium()
    except (ImportError, LookupError) as error:
        pytest.skip(f"NO TEST IN A BROWSER: {error}")


@pytest.fixture(scope="module")
def page(chromium: str) -> Iterator[Any]:
    """A page of a headless Chromium; for one module, because no other test may run an event loop meanwhile."""
    playwright = importlib.import_module("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        yield page
        browser.close()


@pytest.fixture(scope="session")
def empty_label_studio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Label Studio that was never used, to be copied: making its database takes a minute, once."""
    program = os.environ.get(PROGRAM)
    name = program.replace("/", "-") if program else version("label-studio")
    empty = Path(request.config.cache.mkdir("label-studio")) / name
    if not empty.exists():
        made = tmp_path_factory.mktemp("empty-label-studio")
        with LabelStudioServer(made, program=program):
            pass
        with suppress(OSError):  # another test run was first
            shutil.copytree(made, empty.with_suffix(f".{os.getpid()}")).rename(empty)
    return empty
