"""Rows become a job file, a program runs, and its folder becomes rows again."""
