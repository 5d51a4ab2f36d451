"""From a capture on disk to the one prepared scene that every method trains on.

Owns

* fetching and unpacking captures (``fetch``),
* reading them (``readers``),
* scenes that this package renders itself (``procedural``),
* the one place where images are resized and split into training and test views (``prepare``),
* reading prepared scenes back (``loader``).

Does not own names of datasets or folders of results. Knows nothing of training.
"""
