"""The two architectures, and how to sample from them."""
