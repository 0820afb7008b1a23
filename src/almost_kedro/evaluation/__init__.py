"""Measures of reward models and policies, and what judges that cannot read score."""
