"""What becomes of Label Studio's events: counted, and passed on once to whoever retrains.

An event is a wake-up call and nothing more. It may be lost; who needs the truth asks Label Studio.
"""

from __future__ import annotations

import logging
from typing import Any

import httpx

from integrations.redaction import redacted
from serve.monitoring.metrics import ServiceMetrics

logger = logging.getLogger(__name__)

TIMEOUT_S = 2.0


class WebhookForwarder:
    """Counts events, and posts each one unchanged to a URL if there is one."""

    def __init__(self, url: str | None, metrics: ServiceMetrics, client: httpx.AsyncClient | None = None) -> None:
        self.url = url
        self.metrics = metrics
        self._client = client or httpx.AsyncClient(timeout=TIMEOUT_S)

    async def __call__(self, action: str, event: dict[str, Any]) -> None:
        """Take one event."""
        self.metrics.count_webhook(action)
        if self.url is None:
            return
        try:
            (await self._client.post(self.url, json=event)).raise_for_status()
        except httpx.HTTPError as error:
            logger.warning("webhook event %s did not reach %s", action, redacted(f"{self.url}: {error!r}"))
