"""What is said of a search for a size or a quality.

Owns the words: how near the file that was written is to what was asked for, and why it is no nearer. Does not search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemgs.bench.target import Found

#: A file that is further below the size asked for is explained, as a part of that size.
NEAR_SIZE = 0.01
#: A file that is further above the quality asked for is explained, dB; twice what the search stops at.
NEAR_PSNR_DB = 0.02


def size_lines(found: Found, target_bytes: int) -> list[str]:
    """How far the file is below the size asked for."""
    below = target_bytes - found.chosen.total_bytes
    lines = [f"{100 * below / target_bytes:.2f} % below the {target_bytes} bytes asked for"]
    if found.is_largest and below > 0:
        lines.append(
            f"{target_bytes} bytes cannot be reached: this is the largest file of the model, at the smallest λ that it "
            "serves; one with more anchors or features makes larger ones"
        )
    elif below > NEAR_SIZE * target_bytes and found.next_larger is not None:
        larger = found.next_larger
        lines.append(f"no nearer: the next larger file, at λ {larger.lmbda}, has {larger.total_bytes} bytes")
    return lines


def psnr_lines(found: Found, target_db: float) -> list[str]:
    """What was measured on the file, on which views, and how far it is above the quality asked for."""
    above = (found.chosen.psnr or 0.0) - target_db
    lines = [
        f"PSNR {found.chosen.psnr:.3f} dB, {above:.3f} dB above the {target_db:g} dB asked for; mean of "
        f"{found.num_views} of {found.num_test_views} test views of the decoded file"
    ]
    if found.is_smallest:
        lines.append("this is the smallest file of the model, at the largest λ that it serves")
    elif above > NEAR_PSNR_DB:
        lines.append("no nearer: all smaller files that were tried fall short")
    if not found.falls_with_lmbda:
        lines.append("PSNR does not fall steadily with λ here: a smaller file that reaches it too may have been missed")
    return lines
