"""The report of a run: what came out, how far it can be trusted, and how it came about."""

from almost_kedro.pages.report.page import Findings, make_report

__all__ = ["Findings", "make_report"]
