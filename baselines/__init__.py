"""Methods that HEMGS is compared with: a package each, and ``shared`` for what several of them need.

Each owns what is particular to its method. None knows another, and ``hemgs`` knows none of them.
"""
