"""Fitting a model to the images of a scene.

Owns the training loop with its checkpoints and interruption safety (``loop``, ``checkpoint``), schedules that scale
with the number of iterations (``schedule``), the reconstruction loss (``losses``), parameters whose rows come and go
together with their optimiser state (``rows``), and the training of anchors (``anchors``). Does not own what is
particular to one method: that is a ``Trainee``, written beside the method.
"""
