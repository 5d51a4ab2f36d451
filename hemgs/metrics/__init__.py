"""Image quality: PSNR, SSIM and LPIPS on images ``[H, W, 3]`` in [0, 1].

Owns the definition of every quality column of ``points.csv`` and the forward passes of the networks behind LPIPS.
Does not own rendering, 8-bit rounding policy (``hemgs.bench``) or any averaging over views and scenes
(``hemgs.analysis``).
"""
