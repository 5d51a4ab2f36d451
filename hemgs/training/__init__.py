"""Fitting a model to the images of a scene.

Owns

* the training loop (``loop``), its settings (``params``), its checkpoints (``checkpoint``) and its interruption by
  signals (``interrupt``),
* schedules that scale with the number of iterations (``schedule``), and the reconstruction loss (``losses``),
* parameters with rows that are added and removed during training (``rows``), and the optimiser of networks
  (``networks``).

Does not own what is particular to one method. The method's ``Trainee`` contains it.
"""
