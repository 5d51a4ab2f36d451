"""From a capture on disk to the one prepared scene that every method trains on.

Owns reading captures (COLMAP models, Blender transforms, the procedural scenes), fetching and unpacking archives, the
one place where images are resized and split into training and test views (``prepare``), and reading prepared scenes
back (``loader``). Does not own what a dataset is called or where results lie, and knows nothing of training.
"""
