"""PyTorch's rank of `bench_distributed.py`: DistributedDataParallel, which sums by gloo over localhost.

DDP sums in buckets of 25 MB, during the backward pass, in threads of gloo's own; `gradient_as_bucket_view` spares it a
copy. Steps without sums are its own, inside `no_sync`. The running statistics of batch normalisation stay each rank's
own, as minicnn's do.
"""

from __future__ import annotations

from typing import Any

from networks import MODELS, MOMENTUM, Task
from rank_work import RankWork, share


def torch_rank(task: Task, layout: str) -> RankWork:
    """A rank with its images and weights in memory as `layout` says, "nchw" or "nhwc"; see `networks.torch_work`."""
    import torch
    import torch.distributed as dist
    import torch_models
    from torch.nn import functional as F
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    memory = torch.contiguous_format if layout == "nchw" else torch.channels_last
    plain = torch_models.build(task.model, task.network().state_dict()).to(memory_format=memory)
    model = DistributedDataParallel(plain, gradient_as_bucket_view=True, broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=MODELS[task.model][1], momentum=MOMENTUM)
    batches = [
        # (N, H, W, C) -> (N, C, H, W)
        (torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=memory), torch.from_numpy(labels))
        for x, labels in share(task, rank, ranks)
    ]

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    def silent(x: Any, labels: Any) -> Any:
        with model.no_sync():
            return step(x, labels)

    def gather(number: float) -> list[float]:
        numbers = [torch.zeros(1, dtype=torch.float64) for _ in range(ranks)]
        dist.all_gather(numbers, torch.tensor([number], dtype=torch.float64))
        return [each.item() for each in numbers]

    size = sum(parameter.numel() * parameter.element_size() for parameter in plain.parameters())
    return RankWork(rank, batches, step, silent, gather, None, size)
