"""Commands that use what a run made."""
