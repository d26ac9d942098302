"""The two architectures, sampling, and checkpoints."""
