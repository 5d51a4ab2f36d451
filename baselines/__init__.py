"""Methods that HEMGS is compared with: one package for each, and ``shared`` for code that several of them use.

Each package owns the parts that are particular to its method. None imports another, and ``hemgs`` imports none.
"""
