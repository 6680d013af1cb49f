"""Metrics for Prometheus. Each ingress counts its own requests; replicas report totals.

Kinds of requests: "open" (an annotator or program opens an image), "batch" (images that are predicted in advance),
"refine" (a click or a drag), "add_person".
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serve.monitoring.replica_status import ReplicaStatus
from serve.monitoring.request_log import add_facts

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6)
ACTIONS = {  # Label Studio's; others are counted as "OTHER", since callers must not create time series
    "PROJECT_CREATED",
    "PROJECT_UPDATED",
    "PROJECT_DELETED",
    "TASKS_CREATED",
    "TASKS_DELETED",
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "LABEL_LINK_CREATED",
    "LABEL_LINK_UPDATED",
    "LABEL_LINK_DELETED",
    "START_TRAINING",
}
TOTALS = {
    "cached_images": "Encoded images in memory.",
    "cached_bytes": "Memory of the encoded images.",
    "cache_hits": "Requests whose image was encoded already, in the current replicas.",
    "cache_misses": "Requests whose image had to be encoded, in the current replicas.",
    "sessions": "Sessions of annotators in memory.",
}


class ServiceMetrics:
    """Requests and their latency by kind, and what the replicas last reported."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.webhook_events = 0
        self._requests = self._counter("requests", "Requests by kind and outcome.", "kind", "outcome")
        self._rejected = self._counter("rejected", "Requests that were rejected or failed, by reason.", "reason")
        self._encoded = self._counter("encoded", "Requests by whether their image was encoded already.", "found")
        self._webhooks = self._counter("webhook_events", "Webhook events of Label Studio by action.", "action")
        self._seconds = Histogram(
            "clickpose_request_seconds", "Latency by kind.", ["kind"], buckets=SECONDS, registry=self.registry
        )
        self._in_progress = self._gauge(
            "requests_in_progress", "Requests in progress, including those that wait.", "kind"
        )
        self._held = self._gauge("held_keypoints", "Keypoints that humans placed, in all sessions.")
        self._versions = self._gauge("replicas", "Replicas by model version.", "model_version")
        self._refused = self._gauge(
            "replicas_refusing", "Replicas that cannot serve the promoted version.", "model_version"
        )
        self._serves = self._gauge(
            "replica_model", "1 for the version that a replica serves.", "replica", "model_version"
        )
        self._queue = self._gauge("replica_queue", "Steps that run or wait for a replica's model.", "replica")
        self._memory = self._gauge("replica_memory_bytes", "Resident memory of a replica.", "replica")
        self._totals = {name: self._gauge(name, text) for name, text in TOTALS.items()}

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Count one request and measure its time; an error is counted by its class name."""
        started, outcome = time.perf_counter(), "ok"
        self._in_progress.labels(kind).inc()
        try:
            yield
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            self._in_progress.labels(kind).dec()
            self._requests.labels(kind, outcome).inc()
            self._seconds.labels(kind).observe(time.perf_counter() - started)
            add_facts(kind=kind, outcome=outcome)

    def count_rejected(self, reason: str) -> None:
        """Count one request that was rejected or failed."""
        self._rejected.labels(reason).inc()
        add_facts(rejected=reason)

    def count_encoded(self, found: bool) -> None:
        """Count one request by whether its image was encoded already."""
        self._encoded.labels("yes" if found else "no").inc()

    def count_webhook(self, action: str) -> None:
        """Count one webhook event."""
        self.webhook_events += 1
        self._webhooks.labels(action if action in ACTIONS else "OTHER").inc()

    def observe_replicas(self, statuses: Sequence[ReplicaStatus]) -> None:
        """Publish what the replicas reported."""
        _show(self._versions, [status.version or "none" for status in statuses])
        _show(self._refused, [status.refused for status in statuses if status.refused])
        for gauge in (self._serves, self._queue, self._memory):
            gauge.clear()
        for status in statuses:
            self._serves.labels(status.replica, status.version or "none").set(1)
            self._queue.labels(status.replica).set(status.queue)
            self._memory.labels(status.replica).set(status.memory_bytes)
        for name, gauge in self._totals.items():
            gauge.set(sum(getattr(status, name) for status in statuses))

    def observe_held(self, num_held: int) -> None:
        """Publish the number of keypoints that humans placed."""
        self._held.set(num_held)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"clickpose_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"clickpose_{name}", text, labels, registry=self.registry)


def _show(gauge: Gauge, versions: Sequence[str]) -> None:
    gauge.clear()
    for version, count in Tally(versions).items():
        gauge.labels(version).set(count)
