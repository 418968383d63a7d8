"""Spans of calls, collected by OpenTelemetry's own SDK."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from byzer_magic.gateway.spans import Spans
from tests.endpoints import Running, Scripted, running

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def ask(endpoint: Running, model: str) -> None:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "one two"}]}).encode()
    headers = {"content-type": "application/json", "traceparent": PARENT, "x-request-id": "mine"}
    with urllib.request.urlopen(urllib.request.Request(f"{endpoint.url}/v1/chat/completions", body, headers)):
        pass


def test_call_is_a_span_of_its_clients_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with running(Scripted()) as endpoint:
        monkeypatch.setattr(endpoint.gateway, "_spans", Spans(provider.get_tracer("test")))
        ask(endpoint, "m")
        with pytest.raises(urllib.error.HTTPError):
            ask(endpoint, "nobody")
        endpoint.until(lambda: len(kept.get_finished_spans()) == 2)
    good, bad = kept.get_finished_spans()
    assert good.name == "chat m"
    assert format(good.context.trace_id, "032x") == PARENT.split("-")[1]
    assert good.attributes is not None
    assert good.attributes["gen_ai.usage.output_tokens"] == 2
    assert good.attributes["byzer.request_id"] == "mine"
    assert good.start_time is not None
    assert good.end_time is not None
    assert 0 < good.end_time - good.start_time < 10e9
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "NotDeployed"
    assert bad.attributes["http.response.status_code"] == 404
