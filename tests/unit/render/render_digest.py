"""Run as a program: prints a hash of images and gradients for each number of threads given as an argument.

With ``together``: renders from two Python threads at once instead, and prints the hashes of both.
"""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor

import numba
import torch

from hemgs.core import jit
from hemgs.render import rasterization
from tests.unit.render.render_cases import Case, arguments_of


def digest(case: Case) -> str:
    """Hash of everything a rendering and its backward pass give."""
    text = hashlib.sha256()
    # In float64 no rounding to float32 hides another order of summation.
    for dtype in (torch.float32, torch.float64):
        inputs = arguments_of(case, dtype)
        image, alpha, meta = rasterization(**inputs, absgrad=True, packed=False)
        (image.square().sum() + alpha.sum()).backward()
        leaves = [value.grad for value in inputs.values() if isinstance(value, torch.Tensor) and value.grad is not None]
        results = [image, alpha, *leaves, meta["means2d"].grad, meta["means2d"].absgrad, meta["flatten_ids"]]
        for tensor in results:
            text.update(tensor.detach().contiguous().numpy().tobytes())
    return text.hexdigest()


def main(words: list[str]) -> None:
    torch.set_num_threads(1)
    jit.WORK_PER_THREAD = 1  # so that even this small scene is given all threads
    case = Case(num=3000, cameras=2, channels=0, size=0.5, arguments={"sh_degree": 3})
    if words == ["together"]:
        with ThreadPoolExecutor(2) as pool:
            print(*pool.map(digest, [case] * 4), sep="\n")
        return
    for word in words:
        numba.set_num_threads(int(word))
        print(digest(case))


if __name__ == "__main__":
    main(sys.argv[1:])
