"""Comparisons of speed and results that anyone can rerun: `make bench`."""
