"""What can go wrong, tried out: `python -m tools.reliability` makes docs/reliability.md.

`.ci/run` tries a short, seeded form of each.
"""
