"""The constants of the rasteriser, shared by all its implementations.

Owns conventions, computes nothing. All constants are those of gsplat 1.5.3. They follow the 3DGS rasteriser (arXiv
2308.04079) except where noted.
"""

from __future__ import annotations

#: Alphas below this are not drawn.
MIN_ALPHA = 1.0 / 255.0

#: Alphas are cut off here (3DGS: 0.99).
MAX_ALPHA = 0.999

#: A pixel stops before the Gaussian that would bring its transmittance to this or less.
MIN_TRANSMITTANCE = 1e-4

#: The point at which the projection's Jacobian is evaluated is held within the field of view, widened by this fraction
#: of its half.
GUARD_BAND = 0.3

#: A Gaussian extends to where its alpha falls to MIN_ALPHA (StopThePop, arXiv 2402.00525, appendix B.2), and at most so
#: many standard deviations. The cap acts only on opacities above 1.
MAX_EXTENT_SIGMA = 3.33

#: Where the antialiasing factor (Mip-Splatting, arXiv 2311.16493) is smaller than this, its square root has no usable
#: slope and passes no gradient.
MIN_COMPENSATION = 1e-6

#: Radii are capped here so that they fit 32-bit integers, pixels.
MAX_RADIUS = 2**30

#: Expected depth is accumulated depth divided by alpha, held at least here.
MIN_DEPTH_ALPHA = 1e-10

#: Defaults of the near and far plane (world units) and of the blur (square pixels). 3DGS has its near plane at 0.2.
NEAR_PLANE = 0.01
FAR_PLANE = 1e10
BLUR_EPS = 0.3
