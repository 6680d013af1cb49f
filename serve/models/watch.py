"""The model that is served, and the check for newly promoted ones.

A promotion only changes the store's pointer. Each replica notices this, loads and tests the new model in a thread while
the old one answers, and then replaces one attribute: no request waits or fails. If the new model cannot be served, the
old one stays. A replica that starts at that moment loads the previous model instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from clickpose.errors import InvalidModel, NotReady, StoreError
from clickpose.skeleton import Skeleton
from serve.models.low_priority import low_priority_thread
from serve.models.smoke_test import LoadModel, ServedModel, load_and_test
from serve.models.source import ModelSource

logger = logging.getLogger(__name__)


class ModelWatch:
    """Holds the current model, and replaces it when another one is promoted.

    Args:
        source: place that models are loaded from.
        skeleton: skeleton of the service; models with other keypoints are rejected.
        load: loads a predictor from a local folder, with a version.

    Attributes:
        refused: version that cannot be served, until another one is promoted.
        problem: why the promoted version is not served; empty if it is.
        on_swap: called with the new version after the model was replaced.
    """

    def __init__(self, source: ModelSource, skeleton: Skeleton, load: LoadModel) -> None:
        self.source = source
        self.skeleton = skeleton
        self.load = load
        self.refused: str | None = None
        self.problem = ""
        self.on_swap: Callable[[str], None] = lambda version: None
        self._model: ServedModel | None = None
        self._loaded = asyncio.Event()
        self._loading = low_priority_thread("load")

    @property
    def version(self) -> str | None:
        """The version that is served, or None while the first one loads."""
        return self._model.version if self._model else None

    @property
    def image_bytes(self) -> int:
        """Memory that an encoded photo with three persons takes; 0 while the first model loads."""
        return self._model.image_bytes if self._model else 0

    async def model(self, timeout_s: float) -> ServedModel:
        """Return the current model; wait for the first one at most ``timeout_s``.

        Raises:
            NotReady: the first model is still loading.
        """
        if self._model is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._loaded.wait(), timeout_s)
        if self._model is None:
            raise NotReady(f"the model is still loading: {self.problem or 'try again in a moment'}")
        return self._model

    async def watch(self, poll_s: float) -> None:
        """Check for new models until cancelled."""
        while True:
            await self.follow()
            await asyncio.sleep(poll_s)

    async def follow(self) -> None:
        """Serve the promoted version, if it is new and can be served."""
        try:
            wanted = await asyncio.to_thread(self.source.wanted_version)
            if wanted == self.refused:
                return
            self.refused, self.problem = None, ""
            if wanted != self.version:
                self._swap(await self._load(wanted))
        except StoreError as error:
            self._report(str(error))  # the store may be reachable again at the next check
        except InvalidModel as error:
            if self._model is None:
                await self._fall_back(wanted)
            self.refused = wanted
            self._report(str(error))

    async def _fall_back(self, refused: str) -> None:
        """Serve the newest earlier version that can be served, if there is one."""
        for version in await asyncio.to_thread(self.source.versions_before, refused):
            try:
                return self._swap(await self._load(version))
            except (InvalidModel, StoreError) as error:
                logger.warning("model %s cannot be served instead of %s: %s", version, refused, error)

    async def _load(self, version: str) -> ServedModel:
        """Load a model in a thread of low priority, while the current one answers."""
        return await asyncio.get_running_loop().run_in_executor(self._loading, self._load_now, version)

    def _load_now(self, version: str) -> ServedModel:
        with self.source.local_folder(version) as folder:
            return load_and_test(self.load, folder, version, self.skeleton)

    def _swap(self, model: ServedModel) -> None:
        logger.info("serving model %s instead of %s", model.version, self.version)
        self._model, self.problem = model, ""
        self._loaded.set()
        self.on_swap(model.version)

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("model %s is still served: %s", self.version, problem)
        self.problem = problem
