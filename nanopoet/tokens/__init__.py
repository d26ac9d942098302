"""Text to token ids, token arrays and batches."""
