"""Options that differ between two runs."""

from almost_kedro.commands.compare.options import compare_options


def test_only_what_differs_is_returned() -> None:
    old = {"seed": "0", "rl.steps": "8", "rl.beta": "0.05"}
    new = {"seed": "0", "rl.steps": "16", "rl.watch": "4"}
    assert compare_options(old, new) == [
        ("rl.beta", "0.05", None),
        ("rl.steps", "8", "16"),
        ("rl.watch", None, "4"),
    ]


def test_user_and_password_are_in_no_value_and_are_no_difference() -> None:
    old = {"mlflow_uri": "http://me:secret@host:5000", "other": "http://a:b@one/x"}
    new = {"mlflow_uri": "http://you:hidden@host:5000", "other": "http://two/x"}
    assert compare_options(old, new) == [("other", "http://***@one/x", "http://two/x")]


def test_of_long_values_the_part_is_shown_where_they_begin_to_differ() -> None:
    same = "s" * 500
    [(_, a, b)] = compare_options({"x": same + "old"}, {"x": same + "new" + "y" * 1_000_000})
    assert a == "... " + "s" * 20 + "old"
    assert b == "... " + "s" * 20 + "new" + "y" * 177 + " ..."


def test_a_long_value_of_one_run_is_shown_from_its_beginning() -> None:
    assert compare_options({"x": "y" * 300}, {}) == [("x", "y" * 200 + " ...", None)]
