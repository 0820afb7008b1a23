"""Measures of the reward model: how often it is right, and what a judge that cannot read scores."""
