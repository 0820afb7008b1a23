"""Every option of the project, explained where it is defined; the YAML files only set values."""
