"""The batch job: when to run, what to claim, how to store."""
