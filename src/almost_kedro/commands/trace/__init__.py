"""`kedro trace`: from any row back to seed prompts, and on to what was made from it."""
