"""Models: their signatures, their data, their predictions. Knows no database."""
