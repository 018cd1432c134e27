"""`batchline predict`: every row of a file back with its prediction."""
