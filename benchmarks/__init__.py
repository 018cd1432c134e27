"""Compare Batchline with the code that a team would write: `python -m benchmarks.job --help`.

A rate depends on the machine, so each benchmark reports ratios. In each round, every contender
gets the same rows, the same model and the same server, one after the other.
"""
