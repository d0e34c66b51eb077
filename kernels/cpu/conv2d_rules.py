"""Which algorithm "auto" means: a table of what was measured, and the rule that reads it."""

# Winograd where there are at least so many channels and filters.
WINOGRAD = {"forward": (16, 16), "input_gradient": (16, 16), "weight_gradient": (24, 24)}
# "direct" with at most so many numbers in a row of the window (KW * C / groups), or so few filters in a group.
DIRECT = {"forward": (24, 15), "weight_gradient": (24, 15)}


def choose(
    direction: str, w_shape: tuple[int, ...], y_shape: tuple[int, ...], groups: int, possible: dict[str, bool]
) -> str:
    """The algorithm for one of the three directions of a convolution."""
    _, KW, C, O = w_shape
    if possible["depthwise"]:
        return "depthwise"
    channels, filters = WINOGRAD[direction]
    if possible["winograd"] and channels <= C and filters <= O:
        return "winograd"
    if direction in DIRECT:
        row, few = DIRECT[direction]
        if row >= KW * C or few >= O // groups:
            return "direct"
    return "implicit_gemm"
