"""What the service did, in Prometheus' words. Each ingress counts its own requests; replicas count for all."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serve.replica_status import ReplicaStatus

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6)


class Metrics:
    """Requests and their latency by kind, and what the replicas last said of themselves."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.webhook_events = 0
        self._requests = Counter(
            "clickpose_requests", "Requests by kind and outcome.", ["kind", "outcome"], registry=self.registry
        )
        self._seconds = Histogram(
            "clickpose_request_seconds", "Latency by kind.", ["kind"], buckets=SECONDS, registry=self.registry
        )
        self._webhooks = Counter(
            "clickpose_webhook_events", "Events of Label Studio by action.", ["action"], registry=self.registry
        )
        self._versions = Gauge(
            "clickpose_replicas", "Replicas by model version.", ["model_version"], registry=self.registry
        )
        self._refused = Gauge(
            "clickpose_replicas_refusing", "Replicas that refuse a version.", ["model_version"], registry=self.registry
        )
        self._cache = {
            name: Gauge(f"clickpose_{name}", text, registry=self.registry)
            for name, text in (
                ("cached_images", "Encoded pictures held."),
                ("cached_bytes", "Memory that they keep."),
                ("cache_hits", "Requests that found their picture encoded, in the replicas alive now."),
                ("cache_misses", "Requests whose picture had to be encoded, in the replicas alive now."),
                ("sessions", "Annotators' screens remembered."),
            )
        }

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Count one request and its time; an error counts by its name."""
        started, outcome = time.perf_counter(), "ok"
        try:
            yield
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            self._requests.labels(kind, outcome).inc()
            self._seconds.labels(kind).observe(time.perf_counter() - started)

    def observe_replicas(self, statuses: Sequence[ReplicaStatus]) -> None:
        """Take over what the replicas said of themselves."""
        _show(self._versions, [status.version or "none" for status in statuses])
        _show(self._refused, [status.refused for status in statuses if status.refused])
        for name, gauge in self._cache.items():
            gauge.set(sum(getattr(status, name) for status in statuses))

    def count_webhook(self, action: str) -> None:
        """Count one event of Label Studio."""
        self.webhook_events += 1
        self._webhooks.labels(action if action.isupper() and len(action) < 50 else "OTHER").inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


def _show(gauge: Gauge, versions: Sequence[str]) -> None:
    gauge.clear()
    for version, count in Tally(versions).items():
        gauge.labels(version).set(count)
