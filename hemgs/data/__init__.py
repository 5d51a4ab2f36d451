"""From a capture on disk to the one prepared scene that every method trains on.

Owns fetching and unpacking captures (``fetch``), reading them (``readers``), scenes that this package renders itself
(``procedural``), the one place where images are resized and split into training and test views (``prepare``), and
reading prepared scenes back (``loader``). Does not own what a data set is called or where results lie. Knows nothing
of training.
"""
