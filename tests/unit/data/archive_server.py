"""A web server on 127.0.0.1 that serves bytes, and misbehaves on request."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """What a path answers.

    Attributes:
        body: the file.
        status: sent instead of it, for the first ``failures`` requests (always if ``None``).
        cut_after: the connection ends after this many bytes of each response.
        stops_after: from this many requests on, it is unavailable.
        ranges: whether byte ranges are served.
        redirect: path that is sent as the new place.
    """

    body: bytes = b""
    status: int = 200
    failures: int | None = None
    cut_after: int | None = None
    stops_after: int | None = None
    ranges: bool = True
    redirect: str = ""
    tag: str = '"v1"'
    content_type: str = "application/zip"
    length: bool = True
    delay_s: float = 0.0
    requests: list[dict[str, str]] = field(default_factory=list)


class Server:
    """Serves ``answers`` by path."""

    def __init__(self, url: str, answers: dict[str, Answer]) -> None:
        self.url = url
        self.answers = answers

    def add(self, path: str, answer: Answer) -> str:
        self.answers[path] = answer
        return self.url + path


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    answers: dict[str, Answer] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path, Answer(status=404))
            answer.requests.append(dict(self.headers.items()))
            if answer.status != 200 and (answer.failures is None or len(answer.requests) <= answer.failures):
                self.send_error(answer.status)
                return
            if answer.stops_after is not None and len(answer.requests) > answer.stops_after:
                self.send_error(503)
                return
            if answer.redirect:
                self.send_response(302)
                self.send_header("Location", answer.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            time.sleep(answer.delay_s)
            start = 0
            asked = self.headers.get("Range")
            if asked and answer.ranges and self.headers.get("If-Range") == answer.tag:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(answer.body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(answer.body)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(answer.body) - 1}/{len(answer.body)}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", answer.content_type)
            if answer.length:
                self.send_header("Content-Length", str(len(answer.body) - start))
            if answer.tag:
                self.send_header("ETag", answer.tag)
            self.end_headers()
            end = len(answer.body) if answer.cut_after is None else start + answer.cut_after
            self.wfile.write(answer.body[start:end])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # Shutting it down waits for one interval, which each test would pay.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_address[1]}", answers)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
