"""The report on one training: a page and its charts."""
