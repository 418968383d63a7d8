"""OpenTelemetry spans of calls, in processes that are set up for it.

The names follow https://opentelemetry.io/docs/specs/semconv/gen-ai/ and .../http/. `opentelemetry-instrument byzerllm
serve` sets a process up; so does OTEL_EXPORTER_OTLP_ENDPOINT, where the packages are installed.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from byzer_magic.gateway.calls import Call
from byzer_magic.log import get_logger

SDK = "opentelemetry.sdk.trace"
ENDPOINT = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
OPERATIONS = {
    "/v1/chat/completions": "chat", "/v1/responses": "chat", "/v1/messages": "chat", "/api/chat": "chat",
    "/v1/completions": "text_completion", "/api/generate": "text_completion",
    "/v1/embeddings": "embeddings", "/api/embed": "embeddings",
}  # fmt: skip
"""`gen_ai.operation.name` by path; other paths have none."""

log = get_logger("gateway")


class Spans:
    """Makes a span of each call that has ended.

    Args:
        tracer: OpenTelemetry's.
    """

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def ended(self, call: Call) -> None:
        """Make the span of a call, below that of its client where the request names one."""
        from opentelemetry import propagate, trace

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers.items()}
        operation = OPERATIONS.get(call.path, "")
        name = (
            f"{operation} {call.model if call.problem != 'NotDeployed' else ''}"
            if operation
            else f"{call.scope['method']} {call.path}"
        )
        started = time.time_ns() - int((time.monotonic() - call.started) * 1e9)
        span = self._tracer.start_span(
            name.strip(),
            context=propagate.extract(headers),
            kind=trace.SpanKind.SERVER,
            start_time=started,
            attributes=_attributes(call, operation),
        )
        if call.problem and call.problem != "Gone":
            span.set_status(trace.StatusCode.ERROR)
        span.end()


def _attributes(call: Call, operation: str) -> dict[str, Any]:
    usage = call.usage
    found = {
        "http.request.method": call.scope["method"],
        "http.route": call.path,
        "http.response.status_code": call.status,
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": call.model,
        "gen_ai.usage.input_tokens": usage.prompt_tokens if usage else None,
        "gen_ai.usage.output_tokens": usage.completion_tokens if usage else None,
        "error.type": call.problem,
        "byzer.request_id": call.id,
        "byzer.key": call.client.name,
        "byzer.seconds_to_first_token": None if call.first is None else call.first - call.started,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def make() -> Spans | None:
    """Return what makes spans; None where nobody collects them."""
    exported = any(os.environ.get(name) for name in ENDPOINT)
    if not exported and SDK not in sys.modules:
        return None
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider

        if exported and not isinstance(trace.get_tracer_provider(), TracerProvider):
            trace.set_tracer_provider(_exporting())
    except ImportError as err:
        log.warning("No spans are sent: %s", err)
        return None
    return Spans(trace.get_tracer("byzer_magic.gateway"))


def _exporting() -> Any:
    """Return a provider that sends spans to where the environment says."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    service = os.environ.get("OTEL_SERVICE_NAME") or "byzer-magic"
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
