"""Tests of reliability: `python -m tools.reliability` writes docs/reliability.md.

`make test` runs a short, seeded form of each.
"""
