"""The best quality that fits a given size, from one variable-rate model.

Owns the search over λ. Does not own encoding (``runner``).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from hemgs.bench.rates import DEFAULT_LMBDAS, rate_of
from hemgs.bench.runner import encode_one, load_model
from hemgs.bench.runs import EncodedRate
from hemgs.core.errors import ConfigError
from hemgs.core.types import Rate

#: The search stops when λ is known to this part of itself: sizes then differ by well under one per cent.
LMBDA_TOLERANCE = 1e-3


def run_encode_to_size(model_dir: Path, out: Path, target_bytes: int, device: torch.device) -> tuple[Rate, EncodedRate]:
    """Writes the bitstream of the smallest λ whose file has at most ``target_bytes``, found by bisection.

    λ is searched between the ends of :data:`hemgs.bench.rates.DEFAULT_LMBDAS`.

    Raises:
        ConfigError: the model has one rate only, or even the largest λ gives a larger file.
    """
    record, method, model = load_model(model_dir, device)
    if method.spec.kind != "all_rates":
        raise ConfigError(f"{record.method} has no λ to search", "leave --target-bytes out")

    with tempfile.TemporaryDirectory() as folder:

        def size_at(lmbda: float) -> int:
            return encode_one(method, model, rate_of(lmbda), Path(folder) / "trial.gsc", device).total_bytes

        low, high = DEFAULT_LMBDAS[0], DEFAULT_LMBDAS[-1]
        smallest_bytes = size_at(high)
        if smallest_bytes > target_bytes:
            raise ConfigError(
                f"--target-bytes {target_bytes}: the smallest file of this model has {smallest_bytes} bytes (λ {high})",
                "ask for more, or train a smaller model",
            )
        if size_at(low) <= target_bytes:
            high = low
        while high - low > LMBDA_TOLERANCE * low:
            middle = (low * high) ** 0.5
            low, high = (low, middle) if size_at(middle) <= target_bytes else (middle, high)
    rate = rate_of(high)
    return rate, encode_one(method, model, rate, out, device)
