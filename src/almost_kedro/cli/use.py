"""Commands that use what a run made."""

from __future__ import annotations

from typing import Any

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.startup import ProjectMetadata

from almost_kedro.cli.project import load_context, one_clear_line, params_option


@click.command("chat")
@click.argument("policies", metavar="[POLICY ...]", nargs=-1)
@click.option(
    "--ask",
    metavar="FILE",
    help="Answer its questions, one a line or JSON lines with `prompt`, and print JSON lines; "
    '"-" is standard input.',
)
@click.option("--rewards", is_flag=True, help="Show what both reward models give each answer.")
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    help="0 takes the most probable token; by default policy_test.temperature.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    help="Mass of the nucleus; by default policy_test.top_p.",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=1),
    help="Token limit of an answer; by default policy_test.max_new_tokens.",
)
@click.option("--seed", type=int, help="Draws the tokens; by default the run's seed.")
@env_option
@params_option
@click.pass_obj
def chat_command(
    metadata: ProjectMetadata,
    /,
    policies: tuple[str, ...],
    ask: str | None,
    rewards: bool,
    env: str | None,
    params: dict[str, Any],
    **draw: Any,
) -> None:
    """Chat with a policy, or with up to four side by side.

    POLICY is base, prompted, sft or rl; by default the last one that was trained. Each answers as
    in the test of policies.
    """
    from almost_kedro.commands.chat.command import chat
    from almost_kedro.commands.chat.policies import Draw

    with one_clear_line():
        chat(load_context(metadata.project_path, env, params), policies, Draw(**draw), ask, rewards)
