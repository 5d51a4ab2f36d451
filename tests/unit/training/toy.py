"""A scene and a trainee that are small enough to test loops, checkpoints and signals in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hemgs.core.bundle import Bundle
from hemgs.core.types import Camera, Scene, Split, View
from hemgs.training.rows import RowParameters

SIZE = 8


def toy_scene(num_views: int = 5, root: Path = Path("toy"), num_test: int = 1) -> Scene:
    """Views of random pixels from cameras on a line; 20 random points in front of them."""
    rng = np.random.default_rng(0)
    images, views = {}, []
    for index in range(num_views + num_test):
        pose = np.eye(4)
        pose[:3, 3] = (0.2 * index - 0.4, 0.0, 3.0)
        camera = Camera(f"view_{index}", SIZE, SIZE, 10.0, 10.0, SIZE / 2, SIZE / 2, pose)
        split: Split = "train" if index < num_views else "test"
        views.append(View(camera, f"images/view_{index}.png", split, ""))
        images[camera.name] = (rng.integers(0, 256, (SIZE, SIZE, 3)) / 255.0).astype(np.float32)
    return Scene(
        root=root,
        dataset="toy",
        scene="toy",
        views=tuple(views),
        points=rng.uniform(-0.5, 0.5, (20, 3)).astype(np.float32),
        point_colors=rng.integers(0, 256, (20, 3), dtype=np.uint8),
        background=(0.0, 0.0, 0.0),
        protocol={},
        hash="toy",
        read_image=lambda view: images[view.name],
    )


class ToyTrainee:
    """Fits one colour per row to the images' mean, with noise, and adds and drops rows on the way.

    ``before_step`` is called at the start of each step with the iteration.
    """

    def __init__(self, before_step: Callable[[int], None] = lambda iteration: None) -> None:
        self.rows = RowParameters({"color": torch.rand(4, 3), "weight": torch.ones(4)}, {"color": 0.1, "weight": 0.01})
        self.seen: list[tuple[int, str]] = []
        self._before_step = before_step

    def step(
        self, iteration: int, camera: Camera, image: Tensor, background: Tensor, mask: Tensor | None = None
    ) -> dict[str, float]:
        self._before_step(iteration)
        self.seen.append((iteration, camera.name))
        noise = 0.01 * torch.randn(3)
        guess = (self.rows["color"] * self.rows["weight"][:, None]).mean(dim=0) + noise + background
        loss = (guess - image.mean(dim=(0, 1))).square().sum()
        loss.backward()
        self.rows.step()
        if iteration % 3 == 0:
            self.rows.append({"color": torch.rand(2, 3), "weight": torch.ones(2)})
            self.rows.keep(torch.arange(self.rows.num_rows) != 0)
        return {"loss": float(loss.detach()), "num_rows": self.rows.num_rows}

    def state(self) -> Bundle:
        return Bundle(self.rows.state(), {"rows": self.rows.num_rows})

    def restore(self, bundle: Bundle) -> None:
        self.rows.restore(bundle.tensors)

    def estimated_bytes(self) -> int | None:
        return 16 * self.rows.num_rows
