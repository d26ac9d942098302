"""Poems: read from the collection, split, and compared for duplicates."""
