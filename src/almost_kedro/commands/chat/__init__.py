"""`kedro chat`: asks policies, one or several side by side."""
