"""The pad's server: the page, and the network's reading of a drawing as JSON."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from flask import Flask, Response, abort, json, jsonify, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from ...nn import Module
from .guard import LONGEST, SIDE, check_sender, drawing_in
from .reading import Reading, check, read

Array = Any
HOST = "127.0.0.1"
MOST_MAPS = 64  # of a layer that the page shows
MOST_NUMBERS = 1024  # likewise, of a vector
# The browser runs the pad's own script, asks the pad's own server, and shows it in no other page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def make_app(model: Module, title: str, classes: Sequence[str], port: int) -> Flask:
    """The application that a server on that port runs. Raises ValueError for a model that does not fit."""
    classes = [str(name) for name in classes]
    check(model, classes)
    parameters = sum(parameter.size for parameter in model.parameters())
    one_at_a_time = threading.Lock()  # a reading observes all calls in this process
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = LONGEST

    @app.before_request
    def refuse_strangers() -> None:
        check_sender(request, port)

    @app.get("/")
    def page() -> str:
        return render_template("pad.html", title=title, classes=classes, parameters=parameters, side=SIDE)

    @app.post("/read")
    def read_drawing() -> Response:
        drawing = drawing_in(request)
        with one_at_a_time:
            start = time.perf_counter()
            try:
                reading = read(model, drawing)
            except (ValueError, TypeError, RuntimeError) as error:  # the model's own
                abort(500, str(error))
            milliseconds = 1000 * (time.perf_counter() - start)
        return jsonify({**as_json(reading), "milliseconds": milliseconds})

    app.register_error_handler(HTTPException, _refusal)
    app.after_request(_with_policy)
    return app


def listen(model: Module, title: str, classes: Sequence[str], port: int) -> BaseWSGIServer:
    """A server that listens, and answers as soon as its `serve_forever` runs; raises as `serve` does."""
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        raise OSError(f"port {port} of {HOST} cannot be used ({error.strerror}): name another one") from error
    with listening:  # the server makes a copy
        port = listening.getsockname()[1]
        app = make_app(model, title, classes, port)
        return make_server(HOST, port, app, threaded=True, request_handler=_QuietHandler, fd=listening.fileno())


def run(model: Module, title: str, classes: Sequence[str], port: int) -> None:
    """Serve until Ctrl-C; see `serve`."""
    server = listen(model, title, classes, port)
    print(f"The pad is on http://{HOST}:{server.port} - Ctrl-C ends it.", flush=True)
    try:
        server.serve_forever()
    finally:
        server.server_close()


class _QuietHandler(WSGIRequestHandler):
    """Writes no line for every stroke, and does not wait for ever for a request that never ends."""

    timeout = 20

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def as_json(reading: Reading) -> dict[str, Any]:
    """A reading as the page takes it: probabilities as they are, arrays as pictures."""
    return {
        "probabilities": [float(p) for p in reading.probabilities],
        "image": picture(reading.image, 0, 1),
        "slopes": picture(reading.slopes),
        "layers": [{"name": layer.name, "kind": layer.kind, **picture(layer.result)} for layer in reading.layers],
    }


def picture(array: Array, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """An array (H, W, C) or (K,) in 256 levels from its smallest to its largest number; of many maps the first ones.

    low, high: the ends of the scale where they are given. Infinite numbers lie at its ends, NaN at the low one.
    """
    array = np.asarray(array, np.float64)
    finite = array[np.isfinite(array)]
    low = float(finite.min(initial=np.inf if finite.size else 0)) if low is None else low
    high = float(finite.max(initial=-np.inf if finite.size else 0)) if high is None else high
    shown = array[..., :MOST_MAPS] if array.ndim == 3 else array[:MOST_NUMBERS]
    share = np.clip(np.nan_to_num((shown - low) / ((high - low) or 1.0)), 0, 1)
    levels = np.round(255 * share).astype(np.uint8)
    return {
        "shape": array.shape,
        "shown": shown.shape,
        "low": low,
        "high": high,
        "levels": base64.b64encode(levels.tobytes()).decode(),
    }


def _refusal(error: HTTPException) -> Any:
    """Any refusal, Flask's own too, as {"error": sentence}."""
    response = error.get_response()
    response.data = json.dumps({"error": error.description})
    response.content_type = "application/json"
    return response


def _with_policy(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response
