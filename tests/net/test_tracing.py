"""Spans as a collector gets them: OTLP over HTTP, decoded by OpenTelemetry's own protobuf."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from mailward.net.networks import Networks


class Collector:
    """Takes spans at /v1/traces."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def run(code: str, endpoint: str = "") -> str:
    head = "import sys\nfrom mailward.config.observing import Tracing\nfrom mailward.net import tracing\n"
    head += f"tracing.start('worker', Tracing(endpoint={endpoint!r}))\n"
    return subprocess.run(
        [sys.executable, "-c", head + code], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_spans_arrive_with_their_parents_and_attributes(collector: Collector) -> None:
    code = "with tracing.span('work certificate', {'mailward.items': 2}):\n"
    code += "    with tracing.span('certificate.care'): pass\n"
    run(code, collector.endpoint)
    assert collector.services == {"mailward-worker"}
    inner, outer = sorted(collector.spans, key=lambda span: span.name)
    assert (inner.name, outer.name) == ("certificate.care", "work certificate")
    assert inner.parent_span_id == outer.span_id
    assert [(each.key, each.value.int_value) for each in outer.attributes] == [("mailward.items", 2)]


def test_an_exception_is_noted(collector: Collector) -> None:
    code = "try:\n    with tracing.span('mail.send'): raise OSError('no relay')\nexcept OSError: pass\n"
    run(code, collector.endpoint)
    assert collector.spans[0].status.message == "OSError: no relay"


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "peer, trace_id, reason",
    [
        ("192.0.2.1", "0af7651916cd43dd8448eb211c80319c", "a front of ours"),
        ("198.51.100.1", None, "a stranger joins no trace"),
    ],
)
def test_a_caller_s_trace_is_gone_on_with_where_it_is_a_trusted_front_s(
    collector: Collector, peer: str, trace_id: str | None, reason: str
) -> None:
    code = f"""
import asyncio
from mailward.web.observed import Observed
async def page(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200}})
async def send(message): pass
scope = {{"type": "http", "path": "/domains/", "method": "GET", "client": ({peer!r}, 1),
         "headers": [(b"traceparent", b"{PARENT}")]}}
asyncio.run(Observed(page, ["192.0.2.0/24"])(scope, None, send))
"""
    run(code, collector.endpoint)
    (span,) = collector.spans
    assert (span.name, span.trace_id.hex() == trace_id) == ("console request", trace_id is not None), reason
    assert {each.key for each in span.attributes} == {"http.request.method", "http.response.status_code"}


def test_off_nothing_of_it_is_imported() -> None:
    code = "with tracing.span('work'): pass\nprint([name for name in sys.modules if 'opentelemetry' in name])"
    assert run(code) == "[]\n"


@pytest.mark.parametrize(
    "address, is_so", [("192.0.2.9", True), ("::ffff:192.0.2.9", True), ("192.0.3.1", False), ("", False)]
)
def test_fronts_are_trusted_by_their_network(address: str, *, is_so: bool) -> None:
    assert Networks(["192.0.2.0/24"]).include(address) is is_so
    assert not Networks([]).include(address)
