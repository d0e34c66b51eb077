"""What has been published about GoogLeNet: its paper's table, and the examples of lectures on its modules.

The paper's K is 1024: its linear layer of 1,024,000 weights has "1000K".
"""

from functools import partial

from .. import nn
from .claim import PARAMETERS, WEIGHTS, WORK, Claim, Counter, Reason, Terms, by_stage

# Lectures: each term is the work of a layer, as a reader would build it.


def work(H: int, C: int, O: int, K: int) -> int:
    """The multiply-adds of a K x K convolution of C to O channels that keeps an image of H x H pixels."""
    return nn.Conv2d(C, O, K, padding="same").multiply_adds((H, H, C), (H, H, O))


def naive_module() -> Terms:
    """An Inception module without bottlenecks on 28 x 28 x 256."""
    filters = {1: 128, 3: 192, 5: 96}
    return {f"{K}x{K}, 256 to {O}": work(28, 256, O, K) for K, O in filters.items()}


def bottleneck_module() -> Terms:
    """The same with 64 channels before the 3 x 3 and the 5 x 5 convolution and behind the pooling."""
    return {
        "1x1, 256 to 128": work(28, 256, 128, 1),
        "1x1, 256 to 64, before 3x3": work(28, 256, 64, 1),
        "3x3, 64 to 192": work(28, 64, 192, 3),
        "1x1, 256 to 64, before 5x5": work(28, 256, 64, 1),
        "5x5, 64 to 96": work(28, 64, 96, 5),
        "1x1, 256 to 64, after pooling": work(28, 256, 64, 1),
    }


def five_alone() -> Terms:
    """5x5 on 28 x 28 x 192."""
    return {"5x5, 192 to 32": work(28, 192, 32, 5)}


def five_behind_one() -> Terms:
    """The same through 16 channels."""
    return {"1x1, 192 to 16": work(28, 192, 16, 1), "5x5, 16 to 32": work(28, 16, 32, 5)}


def separable_stem(what: str) -> Terms:
    """GoogLeNet's first convolution as a separable one: 8 filters 7 x 7 for each of 3 channels, then 1 x 1."""
    depthwise = nn.Conv2d(3, 24, 7, stride=2, padding=3, groups=3, bias=False)
    pointwise = nn.Conv2d(24, 64, 1, bias=False)
    if what == WORK:
        first = depthwise.multiply_adds((224, 224, 3), (112, 112, 24))
        second = pointwise.multiply_adds((112, 112, 24), (112, 112, 64))
    else:
        first, second = depthwise.weight.size, pointwise.weight.size
    return {"7x7 in each channel, 3 to 24": first, "1x1, 24 to 64": second}


NETWORK = "googlenet:2015"

_TOTALS = [
    Claim(NETWORK, PARAMETERS, "6,998,552", "dlcookbook-dlbs"),
    Claim(NETWORK, WORK, "1.5G", "Szegedy 2015, section 1"),
    Claim(NETWORK, WORK, "1.583G", "usual"),
]

_LECTURES = [
    Claim(NETWORK, "naive module", "854M", "lecture", terms=naive_module),
    Claim(NETWORK, "with bottlenecks", "353M", "lecture", terms=bottleneck_module,
           reason=Reason("a wrong sum; its terms make", lambda count: bottleneck_module(), right="271.35M")),
    Claim(NETWORK, "5x5 alone", "120M", "lecture", terms=five_alone),
    Claim(NETWORK, "5x5 behind 1x1", "12.4M", "lecture", terms=five_behind_one),
]  # fmt: skip


# Table 1 of the paper.

SOURCE = "Szegedy 2015, table 1"

# Image and channels that a module sees; the columns #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5 and pool proj; params
# and ops as printed.
Row = tuple[int, int, tuple[int, int, int, int, int, int], str, str]
_MODULES: dict[str, Row] = {
    "inception3a": (28, 192, (64, 96, 128, 16, 32, 32), "159K", "128M"),
    "inception3b": (28, 256, (128, 128, 192, 32, 96, 64), "380K", "304M"),
    "inception4a": (14, 480, (192, 96, 208, 16, 48, 64), "364K", "73M"),
    "inception4b": (14, 512, (160, 112, 224, 24, 64, 64), "437K", "88M"),
    "inception4c": (14, 512, (128, 128, 256, 24, 64, 64), "463K", "100M"),
    "inception4d": (14, 512, (112, 144, 288, 32, 64, 64), "580K", "119M"),
    "inception4e": (14, 528, (256, 160, 320, 32, 128, 128), "840K", "170M"),
    "inception5a": (7, 832, (256, 160, 320, 32, 128, 128), "1072K", "54M"),
    "inception5b": (7, 832, (384, 192, 384, 48, 128, 128), "1388K", "71M"),
}
# What should stand there.
_SLIPS = {
    WEIGHTS: {"inception3b": "379K", "inception4a": "367K", "inception4b": "438K", "inception4c": "497K",
              "inception4d": "590K", "inception4e": "847K", "inception5a": "1018K", "inception5b": "1409K"},
    WORK: {"inception5a": "51M"},
}  # fmt: skip


def module(what: str, H: int, C: int, filters: tuple[int, ...], count: Counter) -> Terms:
    """The weights or the multiply-adds of a module, from the columns of its row."""
    one, reduce3, three, reduce5, five, pooled = filters
    layers = {"1x1": (C, one, 1), "3x3 reduce": (C, reduce3, 1), "3x3": (reduce3, three, 3),
              "5x5 reduce": (C, reduce5, 1), "5x5": (reduce5, five, 5), "pool proj": (C, pooled, 1)}  # fmt: skip
    pixels = H * H if what == WORK else 1
    return {name: pixels * nn.Conv2d(*sizes, bias=False).weight.size for name, sizes in layers.items()}


def _modules(what: str) -> list[Claim]:
    """A column of the table, for its modules."""
    claims = []
    for stage, (H, C, filters, params, ops) in _MODULES.items():
        right = _SLIPS[what].get(stage)
        terms = partial(module, what, H, C, filters)
        reason = Reason("a slip; the filters in the same row make", terms, right) if right else None
        printed, kilo = (params, 1024) if what == WEIGHTS else (ops, 1000)
        claims.append(Claim(NETWORK, what, printed, SOURCE, (stage,), kilo, reason=reason))
    return claims


def _first(what: str, printed: str) -> Claim:
    """The row of the first convolution: both its numbers are those of another layer."""
    text = "fits a separable convolution, which Ioffe 2015 (appendix) has in this place"
    reason = Reason(text, lambda count: separable_stem(what))
    return Claim(NETWORK, what, printed, SOURCE, ("conv1",), kilo=1024 if what == WEIGHTS else 1000, reason=reason)


def _column(what: str, first: str, second: str, linear: str) -> list[Claim]:
    kilo = 1024 if what == WEIGHTS else 1000
    return [
        _first(what, first),
        Claim(NETWORK, what, second, SOURCE, ("conv2", "conv3"), kilo),
        *_modules(what),
        *by_stage(NETWORK, what, SOURCE, {"fc": linear}, kilo),
    ]


CLAIMS = [*_TOTALS, *_LECTURES, *_column(WEIGHTS, "2.7K", "112K", "1000K"), *_column(WORK, "34M", "360M", "1M")]
