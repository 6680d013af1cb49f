"""The model being served, and the watch for its successor.

A promotion only moves a pointer. Each replica notices by itself, loads and tries the new model in a thread while the
old one answers, and then rebinds one attribute: no request waits, none fails, and what is cached for other pictures
stays where it is. A model that cannot be served is refused, and the old one goes on; a replica that starts just then
takes the one that was current before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clickpose.errors import InvalidModel, NotReady, StoreError
from clickpose.skeleton import Skeleton
from serve.models.low_priority import low_priority_thread
from serve.models.smoke_test import LoadModel, load_and_test
from serve.models.source import ModelSource

if TYPE_CHECKING:
    from clickpose.predictor import Predictor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedModel:
    """A predictor and the version that its answers carry."""

    predictor: Predictor
    version: str


class ModelWatch:
    """Holds the model to answer with.

    Args:
        source: where models come from.
        skeleton: the one schema that this service speaks; a model of another one is refused.
        load: makes a predictor from a local folder and a version.

    Attributes:
        refused: a version that cannot be served, until another one is wanted.
        problem: why the wanted version is not served, empty if it is.
        on_swap: called with the new version after each change of model.
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
        """The version being served, or None while the first one loads."""
        return self._model.version if self._model else None

    async def model(self, patience_s: float) -> ServedModel:
        """Return the model to answer with, after at most some seconds of waiting for the first one.

        Raises:
            NotReady: there is none yet.
        """
        if self._model is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._loaded.wait(), patience_s)
        if self._model is None:
            raise NotReady(f"the model is still loading: {self.problem or 'try again in a moment'}")
        return self._model

    async def watch(self, poll_s: float) -> None:
        """Follow the pointer until cancelled."""
        while True:
            await self.follow()
            await asyncio.sleep(poll_s)

    async def follow(self) -> None:
        """Serve the wanted version, if it is another one and can be served."""
        try:
            wanted = await asyncio.to_thread(self.source.wanted_version)
            if wanted == self.refused:
                return
            self.refused, self.problem = None, ""
            if wanted != self.version:
                self._swap(await self._load(wanted))
        except StoreError as error:
            self._report(str(error))  # a store that cannot be reached may be back at the next look
        except InvalidModel as error:
            if self._model is None:
                await self._fall_back(wanted)
            self.refused = wanted
            self._report(str(error))

    async def _fall_back(self, refused: str) -> None:
        """Serve the latest version before a refused one that can be served, if there is any."""
        for version in await asyncio.to_thread(self.source.versions_before, refused):
            with suppress(InvalidModel, StoreError):
                return self._swap(await self._load(version))

    async def _load(self, version: str) -> ServedModel:
        """Load a model beside the one that answers, and more patiently, as is all that a new replica starts with."""
        return await asyncio.get_running_loop().run_in_executor(self._loading, self._load_now, version)

    def _load_now(self, version: str) -> ServedModel:
        with self.source.local_folder(version) as folder:
            return ServedModel(load_and_test(self.load, folder, version, self.skeleton), version)

    def _swap(self, model: ServedModel) -> None:
        logger.info("serving model %s instead of %s", model.version, self.version)
        self._model, self.problem = model, ""
        self._loaded.set()
        self.on_swap(model.version)

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("model %s stays: %s", self.version, problem)
        self.problem = problem
