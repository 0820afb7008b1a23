"""Measures of reward models and policies, and scores of judges that cannot read."""
