from __future__ import annotations

import torch

from hemgs.metrics.ssim import ssim
from hemgs.training.losses import reconstruction_loss


def test_equal_images_cost_nothing() -> None:
    image = torch.rand(20, 24, 3)
    assert abs(float(reconstruction_loss(image, image, 0.2))) < 1e-6


def test_weights_of_both_terms() -> None:
    torch.manual_seed(0)
    image, target = torch.rand(20, 24, 3), torch.rand(20, 24, 3)
    absolute = (image - target).abs().mean()
    torch.testing.assert_close(reconstruction_loss(image, target, 0.0), absolute)
    torch.testing.assert_close(reconstruction_loss(image, target, 1.0), 1 - ssim(image, target))
    torch.testing.assert_close(
        reconstruction_loss(image, target, 0.2), 0.8 * absolute + 0.2 * (1 - ssim(image, target))
    )


def test_gradient_leads_to_the_target() -> None:
    torch.manual_seed(0)
    target = torch.rand(16, 16, 3)
    image = torch.rand(16, 16, 3, requires_grad=True)
    before = reconstruction_loss(image, target, 0.2)
    before.backward()
    assert image.grad is not None
    assert reconstruction_loss(image.detach() - 5.0 * image.grad, target, 0.2) < 0.99 * before
