"""The digit pad: a page on this machine where a person draws a digit and watches a network read it.

    from minicnn.study.digit_pad import serve
    serve(model, "my network")

`reading` runs the network, `app` serves the page and what it asks for, `guard` refuses everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...nn import Module

DIGITS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
PORT = 8028


def serve(model: Module, title: str, classes: Sequence[str] = DIGITS, port: int = PORT) -> None:
    """Serve the pad on http://127.0.0.1:port, and on no other address, until Ctrl-C.

    model: any Module that takes images (1, 28, 28, 1) from 0 (paper) to 1 (ink) and returns a row of scores, one for
        each of `classes`; it is read in evaluation mode, and left as it was. title: stands above the pad.
    port: 0 takes one that is free.

    Raises ValueError for a model that does not fit, OSError for a port that is taken, and ImportError where the extra
    "study" is missing.
    """
    try:
        from .app import run
    except ImportError as error:
        raise ImportError('the digit pad needs Flask: pip install "minicnn[study]"') from error
    run(model, title, classes, port)
