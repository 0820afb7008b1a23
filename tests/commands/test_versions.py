"""Which versions belong together."""

from almost_kedro.commands.versions import find_made_from, find_source


def test_what_was_made_has_the_version_of_its_source_or_one_before_the_next() -> None:
    sources = ["v10", "v20", "v30"]
    assert find_made_from(["v10", "v15", "v20", "v21"], sources, "v10") == "v15"
    assert find_made_from(["v20"], sources, "v20") == "v20"
    assert find_made_from(["v10", "v31"], sources, "v20") is None
    assert find_made_from(["v40", "v31"], sources, "v30") == "v40"


def test_a_source_is_not_newer_than_what_was_made_of_it() -> None:
    assert find_source(["v10", "v20", "v30"], "v25") == "v20"
    assert find_source(["v10"], "v10") == "v10"
    assert find_source(["v10"], "v09") is None
