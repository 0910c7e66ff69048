"""A monitor whose answers a test sets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

NO_SPACE = "JetStream stream '$G > EVENTS' write error: write msgs/4.blk: no space left on device"


class Monitor:
    """`trouble` is the error of /healthz, with status 503; empty when the server is well."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.trouble = ""


@contextmanager
def monitor() -> Iterator[Monitor]:
    """A monitor on loopback while the block runs; its server always syncs, and is well at first."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            healthz = {"status": "unavailable", "error": shown.trouble} if shown.trouble else {"status": "ok"}
            answer = healthz if self.path == "/healthz" else {"jetstream": {"config": {"sync_always": True}}}
            self.send_response(503 if answer is healthz and shown.trouble else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        shown = Monitor(server.server_port)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield shown
        finally:
            server.shutdown()
            thread.join()
