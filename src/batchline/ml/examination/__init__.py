"""What `models add` finds out about a model, one question per file."""
