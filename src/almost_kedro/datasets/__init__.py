"""Datasets of our own: files that appear whole or not at all."""
