"""What steps cost."""

from almost_kedro.commands.compare.costs import Cost, Step, pair_costs, sum_costs


def test_programs_of_one_name_are_one_step() -> None:
    steps = [
        Step("answers", {"seconds": 2.0, "load_seconds": 1.5, "tokens_generated": 10.0}),
        Step("training", {"load_seconds": 1.0, "train_seconds": 4.0, "tokens": 7.0}),
        Step("answers", {"seconds": 3.0, "tokens_generated": 20.0}),
        Step("killed", {}),
    ]
    assert sum_costs(steps) == {
        "answers": Cost(2, 5.0, 30.0),
        "training": Cost(1, 5.0, 7.0),
        "killed": Cost(1, 0.0, 0.0),
    }


def test_steps_stand_side_by_side_in_the_order_of_the_first_run() -> None:
    one, two = Cost(1, 1.0, 1.0), Cost(1, 2.0, 2.0)
    pairs = pair_costs({"b": one, "a": one}, {"c": two, "a": two})
    assert pairs == [("b", one, None), ("a", one, two), ("c", None, two)]
