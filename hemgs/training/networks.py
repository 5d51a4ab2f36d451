"""The Adam that trains networks, with a log-linear learning rate for each group.

Owns optimiser, schedule and saved state of network parameters. Does not own the networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hemgs.core.errors import TrainingError
from hemgs.training.rows import ADAM_EPS
from hemgs.training.schedule import log_linear

_OPTIMISER_STATE = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class ParameterGroup:
    """Network parameters with one learning rate, decayed log-linearly to the end of the run.

    Attributes:
        name: unique among the groups of a training.
        parameters: leaf tensors; the same objects throughout the training.
        lr_start: learning rate at the first step.
        lr_end: learning rate at the last step; equal to ``lr_start`` for a constant rate.
        decay_from: iteration from which the rate decays, for parameters that are not trained before it.
    """

    name: str
    parameters: Sequence[torch.nn.Parameter]
    lr_start: float
    lr_end: float
    decay_from: int = 0


class NetworkOptimizer:
    """Adam over groups of network parameters, whose shapes never change.

    Args:
        groups: groups with distinct names. A group may be empty, and there may be no groups.
        iterations: length of the run, over which learning rates decay.

    Raises:
        ValueError: two groups have the same name.
    """

    def __init__(self, groups: Sequence[ParameterGroup], iterations: int) -> None:
        self._groups = [group for group in groups if group.parameters]
        if len({group.name for group in self._groups}) != len(self._groups):
            raise ValueError(f"group names repeat: {[group.name for group in self._groups]}")
        self._iterations = iterations
        options = [{"params": list(group.parameters), "lr": group.lr_start} for group in self._groups]
        # Adam refuses an empty list, but accepts one group without parameters.
        self._adam = torch.optim.Adam(options or [{"params": []}], lr=0.0, eps=ADAM_EPS, fused=True)

    def set_iteration(self, iteration: int, others: Mapping[str, float] | None = None) -> None:
        """Set all learning rates for a step, from 1; ``others`` replaces those of the groups that it names."""
        for group, options in zip(self._groups, self._adam.param_groups, strict=False):
            since, total = iteration - group.decay_from, max(self._iterations - group.decay_from, 1)
            scheduled = log_linear(group.lr_start, group.lr_end, since, total)
            options["lr"] = (others or {}).get(group.name, scheduled)

    def step(self) -> None:
        """Do one Adam step with the gradients present, and clear them."""
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """Return parameters and moments by name, for :meth:`restore`."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self._named():
            tensors[name] = parameter.detach()
            for key, value in self._adam.state.get(parameter, {}).items():
                tensors[f"{name}.{key}"] = value
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the tensors of :meth:`state`; the parameters stay the same objects.

        Raises:
            TrainingError: a tensor is missing or of another shape.
        """
        try:
            for name, parameter in self._named():
                with torch.no_grad():
                    parameter.copy_(tensors[name])
                self._adam.state.pop(parameter, None)
                if f"{name}.step" in tensors:
                    self._adam.state[parameter] = {
                        key: tensors[f"{name}.{key}"].to(parameter.device, copy=True) for key in _OPTIMISER_STATE
                    }
        except (KeyError, RuntimeError) as fault:
            raise TrainingError(
                f"the checkpoint does not fit the networks ({fault})", "delete it and train again"
            ) from fault

    def _named(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [
            (f"{group.name}.{index}", parameter)
            for group in self._groups
            for index, parameter in enumerate(group.parameters)
        ]
