"""Align a language model without human labels, one inspectable step after another."""

__version__ = "0.1.0"
