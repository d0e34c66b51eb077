"""What `bench_kernels.py --device cuda` times: the rows of the CPU, and work that is large enough for a GPU.

A GPU is done with most of the CPU's shapes before Python has asked for the next kernel. So there are also the layers of
ResNet-50 with 64 images, two large matrix products, and for the kernels that memory limits arrays that no cache holds.
"""

from __future__ import annotations

from collections.abc import Iterator

import kernel_cases
from conv_cases import RESNET50, Case, layers

NETWORKS = {"resnet50-b64": (64, RESNET50)}
LARGE = (64, 112, 112, 64)  # ResNet-50's first activations, 205 MB
LINEARS = [(64, 2048, 1000), (4096, 4096, 4096)]  # ResNet-50's last layer, and a square one
LONG_ROWS = [(1 << 16, 1000)]
PARAMETERS = [(25_557_032,)]  # as many weights as ResNet-50 has


def cases() -> list[Case]:
    """Every row, kernel by kernel."""
    return kernel_cases.sorted_by_kernel([*kernel_cases.cases(), *large()])


def large() -> Iterator[Case]:
    """Those that the CPU's list does not have."""
    for layer in layers(NETWORKS):
        yield from layer.cases()
    yield from kernel_cases.linears(LINEARS)
    yield from kernel_cases.biases([LARGE])
    yield from kernel_cases.pools([(LARGE, 3, 2, 1)])
    yield from kernel_cases.adaptive_pools([((64, 7, 7, 2048), 1)])
    yield from kernel_cases.batch_norms([LARGE])
    yield from kernel_cases.local_response_norms([LARGE])
    yield from kernel_cases.activations([LARGE])
    yield from kernel_cases.softmaxes(LONG_ROWS)
    yield from kernel_cases.losses(LONG_ROWS)
    yield from kernel_cases.dropouts([LARGE])
    yield from kernel_cases.updates(PARAMETERS)
