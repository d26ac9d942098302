"""Evaluation of a model: its predictions, and the poems that it writes."""
