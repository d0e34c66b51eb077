"""Which algorithm "auto" means: one table of limits that were measured, and the rule that reads it.

benchmarks/choose_conv2d.py measures the algorithms on this machine and, with --write, writes the table anew.
"""

# begin: written by benchmarks/choose_conv2d.py
# AMD EPYC, 2 threads; beside each line: the time of what it chooses over that of the fastest, geometric mean
LIMITS = {
    "forward": {"winograd": (16, 4, 1728), "direct": (144, 32)},  # 1.008
    "input_gradient": {"winograd": (6, 4, 1188), "direct": (0, 0)},  # 1.003
    "weight_gradient": {"winograd": (12, 4, 1188), "direct": (30, 32)},  # 1.013
}
# end


def choose(
    direction: str, w_shape: tuple[int, ...], y_shape: tuple[int, ...], groups: int, possible: dict[str, bool]
) -> str:
    """The algorithm for "forward", "input_gradient" or "weight_gradient" of a convolution with the outputs y_shape.

    "depthwise" where it is possible; "winograd" where it is, with at least so many channels, so many filters, and so
    many products saved for each weight; "direct" with at most so many numbers in a row of the window (KW * C), or with
    at most so many filters in a group; and "implicit_gemm" for all others and for 1x1 kernels.
    """
    KH, KW, C, O = w_shape
    fewest_channels, fewest_filters, fewest_products = LIMITS[direction]["winograd"]
    longest_row, most_filters = LIMITS[direction]["direct"]
    if possible["depthwise"]:
        return "depthwise"
    if possible["winograd"] and fewest_channels <= C and fewest_filters <= O and saved(y_shape) >= fewest_products:
        return "winograd"
    if KH * KW > 1 and (longest_row >= KW * C or most_filters >= O // groups):
        return "direct"
    return "implicit_gemm"


def saved(y_shape: tuple[int, ...]) -> int:
    """Products that Winograd's tiles of 4x4 save for each weight: 36 a tile, where the definition has 9 an output.

    A tile may stick out, so it can be none at all. What is saved must outweigh the transform of the weights.
    """
    N, OH, OW, _ = y_shape
    return N * (9 * OH * OW - 36 * -(-OH // 4) * -(-OW // 4))
