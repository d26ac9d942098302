"""The training loop, its optimizers, and how it resumes."""
