"""The API service: registers and reads, never predicts."""
