"""The method: plain functions on rows, one for each numbered rule of the paper's system.

Two rule sets run through all of it. `original` reproduces what the paper's released code does;
`corrected`, the default, mends its bugs. Each function's docstring gives both.
"""
