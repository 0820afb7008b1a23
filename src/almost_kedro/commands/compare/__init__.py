"""`kedro compare`: what differs between two runs, and which differences the data show."""
