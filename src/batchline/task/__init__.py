"""The batch job: the process that claims items, predicts them and stores the results."""
