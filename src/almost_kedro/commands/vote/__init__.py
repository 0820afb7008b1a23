"""`kedro vote`: a page on which people vote between two policies, and the count of their votes."""
