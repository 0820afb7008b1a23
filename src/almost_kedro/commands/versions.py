"""Which versions of two datasets belong together, where no row says so.

A run reads the newest version of what it does not make. So what was made of a dataset has its
version, or a later one; from the next version of the dataset on, it is made of that one.
`--load-versions` can break this.
"""

from __future__ import annotations

from collections.abc import Sequence


def find_made_from(made: Sequence[str], sources: Sequence[str], source: str) -> str | None:
    """Return the newest version that was made from version `source`; None if there is none.

    Both are all versions of a dataset, in any order; they sort by time.
    """
    later = min((version for version in sources if version > source), default=None)
    fitting = [each for each in made if each >= source and (later is None or each < later)]
    return max(fitting, default=None)


def find_source(sources: Sequence[str], made: str) -> str | None:
    """Return the version from which version `made` of another dataset was made, as above."""
    return max((version for version in sources if version <= made), default=None)
