"""Running methods: the contract they fulfil, and the use cases behind the command line.

Owns the protocol of a method (``protocol``), finding one (``registry``), rates and their ids (``rates``), the records
that pass between steps (``runs``), training, encoding and decoding (``runner``), measuring decoded bitstreams
(``evaluation``), pictures and exports (``viewing``), and the checks that every method must pass (``conformance``).
Does not own any method, tables or figures, nor what is printed on a terminal.
"""
