"""The five pipelines; each folder has the wiring of one."""
