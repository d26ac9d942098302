"""Token ids of texts, token arrays and batches."""
