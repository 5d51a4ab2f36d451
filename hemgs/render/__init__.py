"""The one renderer of all methods. It turns Gaussians into pixels, and gradients of pixels into those of Gaussians.

The device of the tensors decides which backend runs.

Owns projection, spherical harmonics and alpha blending, with the argument list and ``meta`` of gsplat 1.5.3. Does not
own what Gaussians mean to a method, losses or image files.
"""

from hemgs.render.rasterization import rasterization
from hemgs.render.view import RenderedView, ndc_gradient_norm, render_view, visible_mask

__all__ = ["RenderedView", "ndc_gradient_norm", "rasterization", "render_view", "visible_mask"]
