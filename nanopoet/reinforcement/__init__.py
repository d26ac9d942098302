"""Reinforcement learning with verifiable rewards: the rules of verse judge the model's poems."""
