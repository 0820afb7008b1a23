"""The rows that go from step to step, how they are checked, and how they are written."""
