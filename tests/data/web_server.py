"""A web server on this machine that publishes files, well or badly."""

import contextlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

NO_SERVER = "http://127.0.0.1:1/"  # a port on which nobody listens


@dataclass
class Site:
    """How files are served. files: content by name.

    status: of every answer, if not 200. ranges: whether Range is heeded. headers: set in place of the right ones.
    cut: how many bytes of an answer of n are sent before the connection is closed. pause: seconds between pieces.
    asked: for each request the name and the header Range. sent: bytes of content.
    """

    files: dict[str, bytes]
    status: int = 200
    ranges: bool = True
    headers: dict[str, str | None] = field(default_factory=dict)
    cut: Callable[[int], int] = lambda n: n
    pause: float = 0.0
    pieces: int = 2**20
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        name, wanted = handler.path.rpartition("/")[2], handler.headers["Range"]
        self.asked.append((name, wanted))
        if self.status != 200 or name not in self.files:
            return handler.send_error(404 if self.status == 200 else self.status)
        body, status, headers = self.files[name], 200, {}
        if wanted and self.ranges:
            start, size = int(wanted.removeprefix("bytes=").removesuffix("-")), len(body)
            status = 206 if start < size else 416
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}" if start < size else f"bytes */{size}"
            body = body[start:]
        headers = {"Content-Length": str(len(body)), **headers, **self.headers}
        handler.send_response(status)
        for key, value in headers.items():
            if value is not None:
                handler.send_header(key, value)
        handler.end_headers()
        self.send(handler, body[: self.cut(len(body))])
        return None

    def send(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # the other side may have had enough
            for start in range(0, len(body), self.pieces):
                handler.wfile.write(body[start : start + self.pieces])
                self.sent += len(body[start : start + self.pieces])
                time.sleep(self.pause)


@contextlib.contextmanager
def serve(site: Site) -> Iterator[str]:
    """The address, with a slash at its end, at which the site's files are."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            site.answer(self)

        def log_message(self, format, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
