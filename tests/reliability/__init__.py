"""What can go wrong, tried out; tests/test_reliability.py tries it in short."""
