"""Metrics of the endpoint in Prometheus' text format: what it has counted, and what the deployments report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from byzer_magic.gateway.calls import Call, Reply
from byzer_magic.gateway.problems import Problem
from byzer_magic.i18n import gettext as _

if TYPE_CHECKING:
    from byzer_magic.stat import ModelStat

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
"""Buckets of times."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """What is counted of the calls with the same labels."""

    requests: Counter
    seconds: Histogram
    first: Histogram
    prompt: Counter
    completion: Counter


class Metrics:
    """What an endpoint has counted."""

    def __init__(self) -> None:
        self._registry = found = CollectorRegistry()
        self._known: dict[tuple[str, str, str, int], _Counted] = {}
        self._requests = Counter(
            "byzer_requests", "Requests that have ended.", ("path", "model", "key", "status"), registry=found
        )
        self._errors = Counter(
            "byzer_errors", "Requests that have failed, by the class of the error; Gone: the client left.",
            ("path", "model", "error"), registry=found,
        )  # fmt: skip
        self._tokens = Counter("byzer_tokens", "Tokens of requests.", ("model", "key", "kind"), registry=found)
        self._cost = Counter("byzer_cost", "What the tokens cost.", ("model", "key", "currency"), registry=found)
        self._running = Gauge("byzer_requests_running", "Requests that are being answered.", registry=found)
        self._first = Histogram(
            "byzer_time_to_first_token_seconds", "Until the first piece of an answer.", ("model",), buckets=SECONDS,
            registry=found,
        )  # fmt: skip
        self._seconds = Histogram(
            "byzer_request_seconds", "Until the last byte of an answer.", ("path", "model"), buckets=SECONDS,
            registry=found,
        )  # fmt: skip
        self._slots = Gauge("byzer_slots", "Requests that a deployment can run at once.", ("model",), registry=found)
        self._busy = Gauge("byzer_slots_busy", "Slots in use.", ("model",), registry=found)
        self._queued = Gauge("byzer_queue", "Requests that wait for a slot.", ("model",), registry=found)
        self._cpu = Gauge(
            "byzer_pool_cpu", "Share of a core that a deployment's pool uses.", ("model",), registry=found
        )
        self._down = Gauge("byzer_workers_down", "Workers that are not up.", ("model",), registry=found)

    def begun(self) -> None:
        """Count a call that begins."""
        self._running.inc()

    def ended(self, call: Call) -> None:
        """Count a call that has ended."""
        self._running.dec()
        model = call.model if call.problem != "NotDeployed" else ""  # whatever clients call is no label
        counted = self._of(call.path, model, call.client.name, call.status)
        counted.requests.inc()
        counted.seconds.observe(time.monotonic() - call.started)
        if call.first is not None:
            counted.first.observe(call.first - call.started)
        if call.problem:
            self._errors.labels(call.path, model, call.problem).inc()
        tokens = call.counted
        counted.prompt.inc(tokens.prompt_tokens)
        counted.completion.inc(tokens.completion_tokens)
        if (usage := call.usage) and usage.cost is not None:
            self._cost.labels(model, call.client.name, usage.currency).inc(usage.cost)

    def _of(self, path: str, model: str, key: str, status: int) -> _Counted:
        """Return the metrics with these labels, which are looked up once."""
        found = self._known.get((path, model, key, status))
        if found is None:
            found = self._known[path, model, key, status] = _Counted(
                self._requests.labels(path, model, key, str(status)),
                self._seconds.labels(path, model),
                self._first.labels(model),
                self._tokens.labels(model, key, "prompt"),
                self._tokens.labels(model, key, "completion"),
            )
        return found

    def text(self, models: list[tuple[str, ModelStat]]) -> bytes:
        """Return all metrics, with those of the deployments as they are now, by the names that clients use."""
        for gauge in (self._slots, self._busy, self._queued, self._cpu, self._down):
            gauge.clear()
        for name, stat in models:
            self._slots.labels(name).set(stat.slots)
            self._busy.labels(name).set(sum(worker.limit - worker.free for worker in stat.workers))
            self._queued.labels(name).set(stat.queued)
            if stat.pool_cpu is not None:
                self._cpu.labels(name).set(stat.pool_cpu)
            self._down.labels(name).set(sum(worker.health != "up" for worker in stat.workers))
        return generate_latest(self._registry)


async def show(call: Call) -> Reply:
    """Return the metrics of the endpoint.

    Raises:
        Problem: the key may not see how much others use.
    """
    if not call.client.sees_metrics:
        raise Problem(
            403, _("The key {name} cannot see the metrics of all keys.", name=call.client.name), code="forbidden",
            anthropic="permission_error", name="Forbidden",
        )  # fmt: skip
    models = await call.gateway.deployments.models(call.client)
    return Reply(call.gateway.metrics.text(models), CONTENT_TYPE_LATEST.encode())
