"""Downloads: archives of scenes, and weights.

Owns which files are needed and where they belong (``archives``), one file over HTTP (``http``), and safe extraction
(``unpack``). Does not own what is inside a capture (``hemgs.data.readers``).
"""
