"""Running methods: the use cases behind the command line.

Owns these use cases:

- finding a method (``registry``), rates and their ids (``rates``), the records that pass between steps (``runs``);
- training and encoding (``training``, ``base``, ``encoding``);
- decoding in its own process (``decoding``, ``isolation``);
- the search for a size or a quality (``target``), measuring decoded bitstreams (``evaluation``);
- pictures and exports (``viewing``), the refit of entropy models (``refit``);
- the cost of a benchmark (``costs``, ``estimate``);
- the checks that every method must pass (``conformance``, ``damage``).

Does not own any method, the protocol of methods (``hemgs.protocol``), tables, figures, or output on a terminal.
"""
