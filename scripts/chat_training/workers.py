"""Training processes that share every gradient.

On a busy machine several processes of one thread each are faster than several threads of one
process: a thread that loses its core holds up the others at every operator, a process only once
per step.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed


@dataclass(frozen=True)
class Workers:
    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @classmethod
    def join(cls, rank: int, count: int, meeting_file: Path) -> "Workers":
        if count > 1:
            url = f"file://{meeting_file}"
            distributed.init_process_group("gloo", init_method=url, rank=rank, world_size=count)
        return cls(rank, count)

    def leave(self) -> None:
        if self.count > 1:
            distributed.destroy_process_group()

    def average_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.count
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def follow(self, value: float) -> float:
        """The leader's value, on every worker."""
        if self.count == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(told, src=0)
        return float(told)
