"""The arguments of a function are the wiring of its node."""

from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from option_values import PARAMETERS

from almost_kedro.errors import UserError
from almost_kedro.options.all import Options
from almost_kedro.options.reward_model import GateOptions
from almost_kedro.pipelines.wiring import make_node

# What puts everything side by side takes more than 12 datasets.
WIDE = {"write_report", "report_evaluation", "write_cards"}


def weigh(
    prompts: list[str], gate_options: GateOptions, rules: str, seed: int, **found: Any
) -> None:
    """Take a dataset, a block of options, two parameters and what a table names."""


def take_all(options: Options, workplace: Any) -> tuple[Options, Any]:
    return options, workplace


@pytest.fixture(scope="module")
def nodes(project: Path) -> list[Node]:
    bootstrap_project(project)
    return sum(pipelines.values(), start=Pipeline([])).nodes


def test_each_argument_names_what_it_takes() -> None:
    node = make_node(weigh, "weights", ("comparisons", "gate"))
    assert node.name == "weigh"
    assert node.outputs == ["weights"]
    assert node.inputs == [
        "prompts",
        "params:gate",
        "params:rules",
        "params:seed",
        "comparisons",
        "gate",
    ]


def test_options_are_all_parameters_checked() -> None:
    node = make_node(take_all, ["given", "place"])
    assert node.inputs == ["parameters", "workplace"]
    made = node.run({"parameters": PARAMETERS, "workplace": "here"})
    assert made["given"].prompt_generation.n_prompts == 5
    assert made["place"] == "here"
    with pytest.raises(UserError, match=r"option sead: there is no such option"):
        node.run({"parameters": {**PARAMETERS, "sead": 1}, "workplace": "here"})


def test_no_node_takes_more_than_twelve_inputs_but_those_that_put_all_side_by_side(
    nodes: list[Node],
) -> None:
    assert {node.name for node in nodes if len(node.inputs) > 12} == WIDE


def test_no_function_of_a_node_has_more_than_ten_arguments(nodes: list[Node]) -> None:
    for node in nodes:
        found = signature(node.func).parameters.values()
        assert sum(a.kind != Parameter.VAR_KEYWORD for a in found) <= 10, node.name
