"""Pipelines: each folder has the nodes and the wiring of one."""
