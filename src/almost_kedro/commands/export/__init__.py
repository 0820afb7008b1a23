"""`kedro export`: rows of a run in the formats of the field."""
