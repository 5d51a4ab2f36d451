"""Speed of the CPU renderer against the same mathematics in plain torch, and against itself with all threads.

Run as ``python -m tests.speed.render``. The backends run in turn in one process, several rounds, best round. One-thread
figures are CPU time; absolute figures depend on the machine, ratios much less so. The plain-torch path takes tiles of
pixels, float32, and recomputes in its backward pass, as one would write it in torch if there were nothing else.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

# Threads that wait by spinning would count as CPU time of whatever runs after them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numba
import torch
from torch import Tensor

from hemgs.render import rasterization
from tests.oracles.rasterization import rasterization_reference

#: Gaussians and side of the image, pixels.
SIZES = ((10_000, 128), (10_000, 512), (50_000, 128), (50_000, 256))

#: Side of a tile in the plain-torch path, pixels: about its fastest.
TORCH_TILE = 16

#: Renderings by our own backend for each one by plain torch.
REPEATS = 5


def scene(num: int, side: int) -> dict[str, Any]:
    """A sphere, a ground plane and a cloud of flat Gaussians seen by one camera; arguments of ``rasterization``."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    on_sphere = on_ground = num * 2 // 5
    in_cloud = num - on_sphere - on_ground
    means = [
        torch.nn.functional.normalize(normal(on_sphere, 3), dim=-1),
        torch.stack([uniform(on_ground) * 6 - 3, torch.ones(on_ground), uniform(on_ground) * 6 - 3], -1),
        uniform(in_cloud, 3) * 4 - 2,
    ]
    scales = 4.6 / math.sqrt(num) * torch.exp(0.4 * normal(num, 3)) * torch.tensor([1.0, 1.0, 0.3])
    leaves = {
        "means": torch.cat(means),
        "quats": normal(num, 4),
        "scales": scales,
        "opacities": torch.sigmoid(0.85 + normal(num)),
        "colors": uniform(num, 3),
    }
    view = torch.eye(4)
    view[2, 3] = 4.0
    focal = 1.1 * side
    intrinsics = torch.tensor([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]])
    return {
        **{name: leaf.requires_grad_() for name, leaf in leaves.items()},
        "viewmats": view[None],
        "Ks": intrinsics[None],
        "width": side,
        "height": side,
    }


def measure(sizes: tuple[tuple[int, int], ...] = SIZES, rounds: int = 4) -> list[dict[str, float]]:
    """Renders and differentiates each scene with every backend.

    Args:
        sizes: Gaussians and image side in pixels.
        rounds: best of these is reported; one more is dropped, because it compiles.

    Returns:
        One row for each size: ``num_gaussians``, ``side``; ``forward_s`` and ``backward_s`` (one thread, CPU time);
        ``torch_forward_s`` and ``torch_backward_s`` (the same with plain torch); ``forward_ratio`` and
        ``backward_ratio`` (torch's time over ours); ``threads`` and ``threads_ratio`` (our wall time with one thread
        over that with all).
    """
    all_threads = numba.get_num_threads()
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    for num, side in sizes:
        arguments = scene(num, side)
        ours = partial(rasterization, **arguments, packed=False)
        plain = partial(rasterization_reference, **arguments, dtype=torch.float32, tile_size=TORCH_TILE)
        one, many, other = [math.inf] * 3, [math.inf] * 3, [math.inf] * 3
        for number in range(rounds + 1):
            # The two of ours next to each other, and more often: they are quick, and compared with each other.
            for _ in range(REPEATS):
                numba.set_num_threads(1)
                new_one = _time(ours)
                numba.set_num_threads(all_threads)
                new_many = _time(ours)
                if number:
                    one, many = _least(one, new_one), _least(many, new_many)
            new_other = _time(plain)
            if number:
                other = _least(other, new_other)
        rows.append(
            {
                "num_gaussians": num,
                "side": side,
                "forward_s": one[0],
                "backward_s": one[1],
                "torch_forward_s": other[0],
                "torch_backward_s": other[1],
                "forward_ratio": other[0] / one[0],
                "backward_ratio": other[1] / one[1],
                "threads": all_threads,
                "threads_ratio": one[2] / many[2],
            }
        )
    torch.set_num_threads(torch_threads)
    return rows


def _least(best: list[float], new: list[float]) -> list[float]:
    return [min(pair) for pair in zip(best, new, strict=True)]


def _time(render: Callable[[], tuple[Tensor, Tensor, Any]]) -> list[float]:
    """CPU seconds forward, CPU seconds backward, wall seconds together."""
    wall, started = time.perf_counter(), time.process_time()
    image, alpha, _ = render()
    rendered = time.process_time()
    torch.autograd.backward([image, alpha], [torch.ones_like(image), torch.ones_like(alpha)])
    return [rendered - started, time.process_time() - rendered, time.perf_counter() - wall]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="rounds, best one counts (default: %(default)s)")
    arguments = parser.parse_args()
    print(
        f"{'Gaussians':>9} {'image':>9}   {'one thread: forward, backward':>29}   {'plain torch':>21}"
        "   torch takes longer by   all threads are faster by"
    )
    for row in measure(rounds=arguments.rounds):
        print(
            f"{row['num_gaussians']:9d} {row['side']:4d}²px   "
            f"{1e3 * row['forward_s']:12.1f} ms {1e3 * row['backward_s']:10.1f} ms   "
            f"{1e3 * row['torch_forward_s']:7.0f} ms {1e3 * row['torch_backward_s']:7.0f} ms   "
            f"{row['forward_ratio']:8.0f} x {row['backward_ratio']:7.0f} x   "
            f"{row['threads_ratio']:8.1f} x ({row['threads']} threads)",
            flush=True,
        )


if __name__ == "__main__":
    main()
