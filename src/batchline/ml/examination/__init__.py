"""The questions that `models add` asks about a model, one per file."""
