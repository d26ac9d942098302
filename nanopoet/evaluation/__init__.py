"""How well a model predicts, and how well it writes."""
