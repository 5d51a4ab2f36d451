"""Learned perceptual image patch similarity (Zhang et al. 2018, arXiv 1801.03924, version 0.1).

Owns the forward pass over SqueezeNet 1.1 (column ``lpips_squeeze``) and the two conventions for the VGG variant
(``lpips_vgg_unit`` and ``lpips_vgg``). Does not own the weights: they are assets, verified before they are opened.
The variants are different quantities and are never printed in one column.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from hemgs.core.assets import MissingAssetError, find_asset
from hemgs.core.catalogue import METRICS
from hemgs.core.errors import AssetError
from hemgs.core.files import sha256_of
from hemgs.metrics.metric import Metric, check_images, visible_part

#: Input normalisation of LPIPS, for images in [-1, 1] (released code of arXiv 1801.03924).
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
#: Added to the length of a feature vector before dividing by it (same source).
NORM_EPS = 1e-10
#: Layers between two taps, numbered as in torchvision's SqueezeNet 1.1; "pool" is max-pool 3, stride 2, ceil mode.
STAGES: tuple[tuple[int | str, ...], ...] = ((0,), ("pool", 3, 4), ("pool", 6, 7), ("pool", 9), (10,), (11,), (12,))
#: Below this width or height the third pooling has no input left.
MIN_SIDE = METRICS["lpips_squeeze"].min_side
#: File that torchvision keeps its VGG-16 weights in; the last eight hex digits begin its SHA-256 (torch.hub's rule).
VGG_FILE = "vgg16-397923af.pth"
#: The same file as an asset.
VGG_ASSET = "vgg16_backbone"


def load_squeeze(device: torch.device) -> Mapping[str, Metric]:
    """Return the metric ``lpips_squeeze``. Raises ``AssetError`` where its weights are missing or altered."""
    backbone, heads = find_asset("lpips_squeeze_backbone"), find_asset("lpips_squeeze_heads")
    return {"lpips_squeeze": SqueezeLpips(load_state(backbone), load_state(heads), device)}


def load_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors`` or from a torch file without executing anything in it.

    Raises:
        AssetError: the file contains no plain state dict.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # a broken file can raise any exception in the readers; the error keeps it as its cause
        raise AssetError(f"{path} is not a readable state dict: {fault}", "fetch the file again") from fault
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise AssetError(f"{path} is not a state dict of tensors", "fetch the file again")
    return {str(name): value for name, value in state.items()}


class SqueezeLpips:
    """LPIPS over SqueezeNet 1.1.

    Args:
        backbone: state dict with ``0.weight`` and ``<fire>.{squeeze,expand1x1,expand3x3}.{weight,bias}``.
        heads: state dict with ``lin<tap>.model.1.weight``, ``[1, C, 1, 1]`` each.
        device: where to compute.

    Raises:
        AssetError: a tensor is missing or has another shape.
    """

    def __init__(self, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor], device: torch.device) -> None:
        self._weights = {name: tensor.detach().to(device, torch.float32) for name, tensor in backbone.items()}
        self._heads = [_head(heads, tap).to(device, torch.float32) for tap in range(len(STAGES))]
        self._shift = torch.tensor(SHIFT, device=device).view(1, 3, 1, 1)
        self._scale = torch.tensor(SCALE, device=device).view(1, 3, 1, 1)
        with torch.no_grad():
            taps = self._features(torch.zeros(1, 3, MIN_SIDE, MIN_SIDE, device=device))
        for tap, (features, head) in enumerate(zip(taps, self._heads, strict=True)):
            if head.shape != (1, features.shape[1], 1, 1):
                raise AssetError(
                    f"LPIPS head {tap} has shape {tuple(head.shape)}, the backbone gives {features.shape[1]} channels",
                    "use heads and backbone of one network",
                )

    def batch(self, images: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return distances ``[B]`` of images ``[B, 3, H, W]`` in [-1, 1]; 0 for equal images, larger is worse.

        With a mask ``[H, W] bool``, a feature weighs as much as the part of its pixels that the mask shows.
        """
        total = torch.zeros(images.shape[0], device=images.device)
        pairs = zip(self._features(images), self._features(targets), self._heads, strict=True)
        for ours, theirs, head in pairs:
            difference = (_unit_length(ours) - _unit_length(theirs)) ** 2
            distances = F.conv2d(difference, head)
            if mask is None:
                total = total + distances.mean(dim=(1, 2, 3))
            else:
                size = distances.shape[2], distances.shape[3]
                weights = F.adaptive_avg_pool2d(mask.to(images.dtype)[None], size)
                total = total + (distances * weights).sum(dim=(1, 2, 3)) / weights.sum()
        return total

    def __call__(self, image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the distance (scalar) of two images ``[H, W, 3]`` in [0, 1], rescaled to [-1, 1] as LPIPS requires."""
        check_images(image, target)
        check_side(image)
        image = visible_part(image, target, mask)
        return self.batch(_planes(image) * 2.0 - 1.0, _planes(target) * 2.0 - 1.0, mask)[0]

    def _features(self, images: Tensor) -> list[Tensor]:
        flow, taps = (images - self._shift) / self._scale, []
        for stage in STAGES:
            for layer in stage:
                if layer == "pool":
                    flow = F.max_pool2d(flow, kernel_size=3, stride=2, ceil_mode=True)
                elif layer == 0:
                    flow = F.relu(self._convolve(flow, "0", stride=2))
                else:
                    flow = self._fire(flow, str(layer))
            taps.append(flow)
        return taps

    def _fire(self, flow: Tensor, name: str) -> Tensor:
        squeezed = F.relu(self._convolve(flow, f"{name}.squeeze"))
        wide = F.relu(self._convolve(squeezed, f"{name}.expand3x3", padding=1))
        return torch.cat((F.relu(self._convolve(squeezed, f"{name}.expand1x1")), wide), dim=1)

    def _convolve(self, flow: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        try:
            weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
            return F.conv2d(flow, weight, bias, stride=stride, padding=padding)
        except (KeyError, RuntimeError) as fault:
            raise AssetError(f"SqueezeNet layer {name!r} is missing or misshapen: {fault}", "fetch it again") from fault


def load_vgg(device: torch.device) -> Mapping[str, Metric]:
    """Return LPIPS over VGG-16 by the ``lpips`` package, in both conventions.

    ``lpips_vgg_unit`` gives images in [0, 1] to the network as they are, the convention of 3DGS (arXiv 2308.04079) and
    of the papers that follow it. ``lpips_vgg`` rescales them to [-1, 1], as LPIPS asks.

    Raises:
        MissingAssetError: a package or the weights are missing; nothing is downloaded.
        AssetError: the weights among the assets are altered.
    """
    for package in ("torchvision", "lpips"):
        try:
            importlib.import_module(package)
        except (ImportError, RuntimeError, OSError) as fault:  # torchvision built for another torch: RuntimeError
            raise MissingAssetError(
                f"the package {package!r} cannot be imported ({fault})", f"pip install {package}"
            ) from fault
    with _hub_folder_of(_vgg_weights()):
        network = importlib.import_module("lpips").LPIPS(net="vgg", version="0.1", verbose=False).to(device).eval()

    def unit(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        check_images(image, target)
        network.spatial = mask is not None  # a distance for each pixel instead of their mean
        distance: Tensor = network(_planes(visible_part(image, target, mask)), _planes(target))
        return distance.reshape(()) if mask is None else distance[0, 0][mask].mean()

    def rescaled(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return unit(image * 2.0 - 1.0, target * 2.0 - 1.0, mask)

    return {"lpips_vgg_unit": unit, "lpips_vgg": rescaled}


def _vgg_weights() -> Path:
    """Find torchvision's weights in torch.hub's folder or among the assets."""
    weights = Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE
    expected = weights.stem.split("-")[1]
    if weights.is_file() and sha256_of(weights).startswith(expected):
        return weights
    try:
        return find_asset(VGG_ASSET)
    except MissingAssetError as fault:
        raise MissingAssetError(
            f"no VGG-16 weights with SHA-256 {expected}… at {weights}, and {fault.message}", fault.fix
        ) from fault


@contextlib.contextmanager
def _hub_folder_of(weights: Path) -> Iterator[None]:
    """Let torchvision find weights in ``<folder>/checkpoints`` instead of downloading them."""
    usual = torch.hub.get_dir()
    if weights.parent.parent == Path(usual):
        yield
        return
    torch.hub.set_dir(weights.parent.parent)
    try:
        yield
    finally:
        torch.hub.set_dir(usual)


def check_side(image: Tensor) -> None:
    """Raise ``ValueError`` for an image ``[H, W, 3]`` too small for the network.

    >>> check_side(torch.zeros(16, 64, 3))
    Traceback (most recent call last):
    ValueError: LPIPS needs at least 17 x 17 pixels, found (16, 64)
    """
    if min(image.shape[:2]) < MIN_SIDE:
        raise ValueError(f"LPIPS needs at least {MIN_SIDE} x {MIN_SIDE} pixels, found {tuple(image.shape[:2])}")


def _planes(image: Tensor) -> Tensor:
    return image.permute(2, 0, 1)[None]


def _unit_length(features: Tensor) -> Tensor:
    length = torch.sqrt(torch.sum(features * features, dim=1, keepdim=True))
    return features / (length + NORM_EPS)


def _head(heads: Mapping[str, Tensor], tap: int) -> Tensor:
    name = f"lin{tap}.model.1.weight"
    if name not in heads:
        raise AssetError(f"LPIPS head {name!r} is missing; found {', '.join(sorted(heads))}", "fetch the heads again")
    return heads[name].detach()
