"""How fast Batchline is beside what a team would write itself: `python -m benchmarks.job --help`.

A figure of one machine says little, so nothing is measured alone: every contender has the same
rows, the same model and the same server, one after the other in each round, and what counts is
the ratio.
"""
