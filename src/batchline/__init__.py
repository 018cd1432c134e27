"""Register items now, predict them later in batches, read the predictions by id."""

__version__ = "0.1.0"
