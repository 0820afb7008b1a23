"""Makes nodes of functions: a function's arguments name what it takes from the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import Parameter, signature
from typing import Any

from kedro.pipeline import Node

from almost_kedro.options.all import check_options

# Arguments that are parameters of the same name.
PARAMETERS = ("contrasts", "rules", "seed")
SUFFIX = "_options"


def make_node(
    func: Callable[..., Any], outputs: str | list[str], found: Iterable[str] = ()
) -> Node:
    """Make a node that has its function's name; `found` names the datasets for `**found`.

    `options` is all parameters, `X_options` is their block X. The names in `PARAMETERS` are
    parameters. Any other argument is the dataset of its name.
    """
    arguments = [
        a.name for a in signature(func).parameters.values() if a.kind != Parameter.VAR_KEYWORD
    ]
    return Node(
        func=_check(func) if "options" in arguments else func,
        inputs={name: name_input(name) for name in arguments} | {name: name for name in found},
        outputs=outputs,
        name=func.__name__,
    )


def name_input(argument: str) -> str:
    """Return the catalog entry that an argument takes."""
    if argument == "options":
        return "parameters"
    if argument.endswith(SUFFIX):
        return f"params:{argument.removesuffix(SUFFIX)}"
    return f"params:{argument}" if argument in PARAMETERS else argument


def _check(func: Callable[..., Any]) -> Callable[..., Any]:
    """Pass all parameters as `Options` to a function that takes them."""

    @wraps(func)
    def call(*, options: dict[str, Any], **others: Any) -> Any:
        return func(options=check_options(options), **others)

    return call
