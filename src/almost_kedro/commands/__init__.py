"""What `kedro rows`, `trace`, `compare` and `plan` print."""
