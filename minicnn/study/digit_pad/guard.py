"""What the pad refuses, each with a 4xx status and a sentence.

A page of any other site can send requests to this machine too, from the browser of the person who runs the pad. So the
names in Host and Origin have to be the pad's own (a foreign name that resolves to 127.0.0.1 is DNS rebinding), and a
drawing has to come as application/json, which a browser sends for no other site without asking the pad first.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np
from flask import Request, abort

Array = Any
SIDE = 112  # of a drawing, in pixels
LONGEST = 2**17  # bytes of a request; 112 x 112 numbers of up to three digits, with commas, are fewer


def check_sender(request: Request, port: int) -> None:
    """Refuse a request that was not addressed to the pad by its own name, or comes from another page."""
    own = {f"127.0.0.1:{port}", f"localhost:{port}"}
    host, origin = request.headers.get("Host"), request.headers.get("Origin")
    if host not in own:
        abort(403, f"the pad answers to http://127.0.0.1:{port} alone")
    if origin is not None and origin not in {f"http://{name}" for name in own}:
        abort(403, "the pad answers to its own page alone")


def drawing_in(request: Request) -> Array:
    """The drawing (112, 112) of float64 in 0 to 1 that a request holds: {"pixels": [12544 numbers from 0 to 255]}."""
    if request.mimetype != "application/json":
        abort(415, f"expected a drawing as application/json, got {request.mimetype or 'no content type'}")
    try:
        document = json.loads(request.get_data(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        abort(400, "expected JSON, got something else")
    if not isinstance(document, dict) or document.keys() != {"pixels"}:
        abort(400, 'expected an object {"pixels": [...]} and nothing else in it')
    pixels = _numbers(document["pixels"])
    if pixels.shape != (SIDE * SIDE,):
        abort(400, f"expected {SIDE * SIDE} pixels, {SIDE} rows of {SIDE}, got shape {pixels.shape}")
    if not ((pixels >= 0) & (pixels <= 255)).all():
        abort(400, f"expected pixels from 0 (paper) to 255 (ink), got {pixels.min():g} to {pixels.max():g}")
    return pixels.reshape(SIDE, SIDE) / 255  # (112*112,) -> (112, 112)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _numbers(values: Any) -> Array:
    """A list of numbers as an array; whatever else JSON can hold is refused."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        abort(400, "expected pixels to be a list of numbers")
    try:
        return np.array(values, np.float64)
    except OverflowError:
        abort(400, "expected pixels from 0 (paper) to 255 (ink), got an integer that no float can hold")
