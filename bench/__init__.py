"""Comparisons that anyone can rerun: `make bench`."""
