"""Which algorithm "auto" means: one table of limits that were measured, and the rule that reads it.

benchmarks/choose_conv2d.py measures the algorithms on this machine and, with --write, writes the table anew.
"""

# begin: written by benchmarks/choose_conv2d.py
# AMD EPYC, 2 threads
LIMITS = {
    "forward": {"winograd": (16, 16), "direct": (30, 16)},
    "input_gradient": {"winograd": (16, 16), "direct": (0, 0)},
    "weight_gradient": {"winograd": (24, 24), "direct": (30, 16)},
}
# end


def choose(direction: str, w_shape: tuple[int, ...], groups: int, possible: dict[str, bool]) -> str:
    """The algorithm for "forward", "input_gradient" or "weight_gradient" of a convolution.

    "depthwise" where it is possible; "winograd" where it is, with at least so many channels and so many filters;
    "direct" with at most so many numbers in a row of the window (KW * C), or with at most so many filters in a group;
    and "implicit_gemm" for all others. It depends on the shape of the weight alone.
    """
    _, KW, C, O = w_shape
    fewest_channels, fewest_filters = LIMITS[direction]["winograd"]
    longest_row, most_filters = LIMITS[direction]["direct"]
    if possible["depthwise"]:
        return "depthwise"
    if possible["winograd"] and fewest_channels <= C and fewest_filters <= O:
        return "winograd"
    if longest_row >= KW * C or most_filters >= O // groups:
        return "direct"
    return "implicit_gemm"
