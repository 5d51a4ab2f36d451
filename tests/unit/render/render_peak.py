"""Run as a program: prints by how many MiB one rendering with gradients raises the process's peak memory.

Arguments: number of Gaussians, side of the image in pixels.
"""

from __future__ import annotations

import resource
import sys

import torch

from hemgs.render import rasterization


def render(num: int, side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    means = (torch.rand(num, 3, generator=generator) - 0.5) * 2
    # The Gaussians shrink as they become more, as in a trained scene: each covers a few tiles at most.
    scales = torch.full((num, 3), 0.5 / num**0.5)
    quats, opacities, colors = torch.randn(num, 4, generator=generator), torch.full((num,), 0.7), torch.rand(num, 3)
    for leaf in (means, quats, scales, opacities, colors):
        leaf.requires_grad_()
    view = torch.eye(4)
    view[2, 3] = 3.0
    intrinsics = torch.tensor([[side * 1.2, 0, side / 2], [0, side * 1.2, side / 2], [0, 0, 1]])
    image, _, _ = rasterization(
        means, quats, scales, opacities, colors, view[None], intrinsics[None], side, side, packed=False
    )
    image.square().sum().backward()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    render(100, 32)  # compiles, or loads compiled code
    before = peak_mib()
    render(int(sys.argv[1]), int(sys.argv[2]))
    print(peak_mib() - before)
