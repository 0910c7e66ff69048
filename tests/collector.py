"""An OTLP receiver, as an OpenTelemetry collector is one: takes spans by HTTP and keeps them."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

KINDS = {2: "server", 3: "client", 4: "producer", 5: "consumer"}


class Received(NamedTuple):
    """One span, as a viewer of traces shows it. Ids are hex digits."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    took_ns: int
    error: str
    attributes: dict[str, str | int]


class Collector:
    """The spans that have come; while it `refuses`, it answers as a server does that is no collector."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.paths: set[str] = set()
        self.requests = 0
        self.refuses = False
        self.url = ""

    def trace(self, trace_id: str) -> dict[str, Received]:
        """The spans of one trace, as `service: name`; of several attempts at a call, each with its number."""
        named: dict[str, Received] = {}
        for span in (span for span in self.spans if span.trace_id == trace_id):
            attempt = span.attributes.get("chorus.attempt", 1)
            name = f"{span.service}: {span.name}{f', attempt {attempt}' if attempt != 1 else ''}"
            assert name not in named, name
            named[name] = span
        return named

    def parents(self, trace_id: str) -> dict[str, str]:
        """The parent of each span of a trace by name; a parent that is no span here is its id."""
        spans = self.trace(trace_id)
        names = {span.span_id: name for name, span in spans.items()}
        return {name: names.get(span.parent_id, span.parent_id) for name, span in spans.items()}

    def take(self, body: bytes) -> bytes:
        """Keep the spans of one request; returns the answer."""
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = {one.key: one.value.string_value for one in of_resource.resource.attributes}
            for span in (span for scope in of_resource.scope_spans for span in scope.spans):
                self.spans.append(
                    Received(
                        resource["service.name"],
                        span.name,
                        KINDS[span.kind],
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.end_time_unix_nano - span.start_time_unix_nano,
                        span.status.message,
                        {one.key: one.value.string_value or one.value.int_value for one in span.attributes},
                    )
                )
        return bytes(ExportTraceServiceResponse().SerializeToString())


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of this machine; `url` is its address without a path."""
    collector = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.paths.add(self.path)
            collector.requests += 1
            answer = b"" if collector.refuses else collector.take(body)
            self.send_response(404 if collector.refuses else 200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
