"""Parameters that share their rows (one per Gaussian or anchor), and the Adam that optimises them.

Owns the optimiser state, which it cuts, pads, reorders and saves together with the rows. Does not decide which rows are
added or removed, or any learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hemgs.core.errors import TrainingError

#: Adam's epsilon for per-primitive parameters (3DGS, arXiv 2308.04079, released code; kept by Scaffold-GS and HAC).
ADAM_EPS = 1e-15
_MOMENTS = ("exp_avg", "exp_avg_sq")
_BUFFER = "buffer/"


class RowParameters:
    """Named leaf tensors ``[N, ...]`` with equal N, one Adam parameter group each.

    Args:
        tensors: initial values by name, at least one, all with the same first dimension; they are copied.
        lrs: learning rates, with the names of ``tensors``.

    Attributes:
        buffers: tensors ``[N, ...]`` by name that no optimiser changes. They follow the rows and are saved with them.
            Appended rows get zeros. Add or replace a buffer by assignment.

    Raises:
        ValueError: names or row counts disagree.
    """

    def __init__(self, tensors: Mapping[str, Tensor], lrs: Mapping[str, float]) -> None:
        if not tensors or set(tensors) != set(lrs):
            raise ValueError(f"tensors {sorted(tensors)} and learning rates {sorted(lrs)} must have the same names")
        if len({len(tensor) for tensor in tensors.values()}) != 1:
            raise ValueError(f"rows differ: { {name: len(tensor) for name, tensor in tensors.items()} }")
        self.buffers: dict[str, Tensor] = {}
        groups: list[dict[str, Any]] = [
            {"params": [_leaf(tensor)], "lr": float(lrs[name]), "name": name} for name, tensor in tensors.items()
        ]
        self._adam = torch.optim.Adam(groups, lr=0.0, eps=ADAM_EPS, fused=True)
        self._groups: dict[str, dict[str, Any]] = {group["name"]: group for group in self._adam.param_groups}

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order given at the start."""
        return tuple(self._groups)

    @property
    def num_rows(self) -> int:
        return len(self[self.names[0]])

    @property
    def device(self) -> torch.device:
        return self[self.names[0]].device

    def __getitem__(self, name: str) -> Tensor:
        """Return the parameter (a leaf that requires a gradient), which is valid until rows change."""
        parameter: Tensor = self._groups[name]["params"][0]
        return parameter

    def lr(self, name: str) -> float:
        """Return the learning rate of one parameter."""
        return float(self._groups[name]["lr"])

    def set_lr(self, name: str, lr: float) -> None:
        """Set the learning rate of one parameter."""
        self._groups[name]["lr"] = lr

    def step(self) -> None:
        """Do one Adam step with the gradients present, and clear them."""
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    def append(self, rows: Mapping[str, Tensor]) -> None:
        """Add rows at the end, with zero optimiser moments.

        Args:
            rows: ``[M, ...]`` for every name, with the parameter's other dimensions.

        Raises:
            ValueError: names or row counts disagree.
        """
        if set(rows) != set(self.names) or len({len(tensor) for tensor in rows.values()}) != 1:
            raise ValueError(f"appended rows must have the names {self.names} and equal lengths")
        for name, new in rows.items():
            old = self[name]
            moments = {key: torch.cat([moment, torch.zeros_like(new)]) for key, moment in self._moments(name).items()}
            self._put(name, torch.cat([old.detach(), new.detach().to(old)]), moments)
        num_new = len(next(iter(rows.values())))
        for name, values in self.buffers.items():
            self.buffers[name] = torch.cat([values, values.new_zeros(num_new, *values.shape[1:])])

    def keep(self, chosen: Tensor) -> None:
        """Keep some rows, and drop all others.

        Args:
            chosen: ``[N] bool``: the rows to keep, in their order; or ``[M] int64``: distinct indices of the rows to
                keep, in their new order.

        Raises:
            TrainingError: no row would be left.
        """
        if not (bool(chosen.any()) if chosen.dtype == torch.bool else len(chosen)):
            raise TrainingError(
                f"all {self.num_rows} primitives would be pruned; the model has become empty",
                "check the cameras and the initial points, or lower the pruning threshold",
            )
        for name in self.names:
            moments = {key: moment[chosen] for key, moment in self._moments(name).items()}
            self._put(name, self[name].detach()[chosen], moments)
        self.buffers = {name: values[chosen] for name, values in self.buffers.items()}

    def replace(self, name: str, tensor: Tensor) -> None:
        """Replace one parameter's values (same shape) and set its moments to zero."""
        if tensor.shape != self[name].shape:
            raise ValueError(f"{name} has shape {tuple(self[name].shape)}, not {tuple(tensor.shape)}")
        moments = {key: torch.zeros_like(moment) for key, moment in self._moments(name).items()}
        self._put(name, tensor.detach().clone(), moments)

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that :meth:`restore` needs: buffers, values, moments, step counts, learning rates."""
        tensors = {_BUFFER + name: values for name, values in self.buffers.items()}
        for name in self.names:
            tensors[name] = self[name].detach()
            tensors[f"{name}.lr"] = torch.tensor(self.lr(name), dtype=torch.float64)
            for key, value in self._adam.state.get(self[name], {}).items():
                tensors[f"{name}.{key}"] = value
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the tensors of :meth:`state` on this object's device; the number of rows may differ.

        Raises:
            TrainingError: a tensor is missing.
        """
        device = self.device
        try:
            for name in self.names:
                self.set_lr(name, float(tensors[f"{name}.lr"]))
                optimiser = {
                    key: tensors[f"{name}.{key}"].to(device, copy=True)
                    for key in ("step", *_MOMENTS)
                    if f"{name}.step" in tensors
                }
                self._adam.state.pop(self[name], None)
                self._groups[name]["params"][0] = _leaf(tensors[name].to(device))
                if optimiser:
                    self._adam.state[self[name]] = optimiser
            self.buffers = {
                name.removeprefix(_BUFFER): values.to(device, copy=True)
                for name, values in tensors.items()
                if name.startswith(_BUFFER)
            }
        except KeyError as fault:
            raise TrainingError(
                f"the checkpoint lacks {fault} of the parameters {self.names}", "delete it and train again"
            ) from fault

    def _moments(self, name: str) -> dict[str, Tensor]:
        state = self._adam.state.get(self[name], {})
        return {key: state[key] for key in _MOMENTS if key in state}

    def _put(self, name: str, values: Tensor, moments: dict[str, Tensor]) -> None:
        """Make ``values`` the parameter; its step count stays, so that bias correction does not start again."""
        state = self._adam.state.pop(self[name], {})
        self._groups[name]["params"][0] = values.requires_grad_(True)
        if state:
            self._adam.state[self[name]] = {**state, **moments}


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().contiguous().requires_grad_(True)
