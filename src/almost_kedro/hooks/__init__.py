"""What happens around a run: checks, the lock, MLflow, the run record, the last lines."""
