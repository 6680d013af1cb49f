"""Label Studio's events: counted, and forwarded once to the retraining process.

An event is only a wake-up call and may be lost. The annotations themselves are read from Label Studio.
"""

from __future__ import annotations

import logging
from typing import Any

import httpx

from integrations.label_studio.connection import is_this_machine
from integrations.redaction import redacted
from serve.monitoring.metrics import ServiceMetrics

logger = logging.getLogger(__name__)

TIMEOUT_S = 2.0


class WebhookForwarder:
    """Counts events, and forwards each one unchanged to a URL if one is configured."""

    def __init__(self, url: str | None, metrics: ServiceMetrics, client: httpx.AsyncClient | None = None) -> None:
        self.url = url
        self.metrics = metrics
        direct = url is not None and is_this_machine(url)
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=not direct)

    async def __call__(self, action: str, event: dict[str, Any]) -> None:
        """Handle one event."""
        self.metrics.count_webhook(action)
        if self.url is None:
            return
        try:
            (await self._client.post(self.url, json=event)).raise_for_status()
        except httpx.HTTPError as error:
            logger.warning("webhook event %s did not reach %s", action, redacted(f"{self.url}: {error!r}"))
