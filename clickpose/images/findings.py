"""Log messages about images while they are opened: each once, and not more than can be read."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

MAX_TOLD = 20

logger = logging.getLogger(__name__)


@dataclass
class Findings:
    """Logs each sentence once, and at most ``MAX_TOLD`` of them."""

    told: set[str] = field(default_factory=set)

    def tell(self, sentence: str) -> None:
        """Log a sentence that was not logged yet."""
        if sentence in self.told or len(self.told) > MAX_TOLD:
            return
        self.told.add(sentence)
        last = len(self.told) > MAX_TOLD
        logger.warning("%s", f"more than {MAX_TOLD} images are like that: no more are listed" if last else sentence)
