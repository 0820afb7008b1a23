"""Commands that use what a run made: `kedro chat`, `score`, `serve`."""

from __future__ import annotations

from pathlib import Path
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

    POLICY is base, prompted, sft, rl or dpo; by default the last of the chain that is there. Each
    answers as in the test of policies.
    """
    from almost_kedro.commands.chat.command import chat
    from almost_kedro.commands.chat.policies import Draw

    with one_clear_line():
        chat(load_context(metadata.project_path, env, params), policies, Draw(**draw), ask, rewards)


@click.command("score")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--model",
    default="reward_model",
    show_default=True,
    help="reward_model or held_out_reward_model.",
)
@click.option("--version", help="Version of the reward model; by default the newest.")
@env_option
@params_option
@click.pass_obj
def score_command(
    metadata: ProjectMetadata,
    file: Path,
    model: str,
    version: str | None,
    env: str | None,
    params: dict[str, Any],
) -> None:
    """Print the reward of each line of FILE (JSON lines), as JSON lines.

    A line has `messages`, or `prompt` and `completion`, or `prompt`, `chosen` and `rejected`; texts
    or lists of messages. Rewards are log-odds.
    """
    from almost_kedro.commands.rows import print_rows
    from almost_kedro.commands.score.command import score_file

    with one_clear_line():
        print_rows(
            score_file(load_context(metadata.project_path, env, params), file, model, version)
        )


@click.command("serve", context_settings={"ignore_unknown_options": True})
@click.argument("model")
@click.argument("more", nargs=-1, type=click.UNPROCESSED)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=int, default=8000, show_default=True, help="Port to listen at.")
@click.option("--print", "only_print", is_flag=True, help="Print the command, start nothing.")
@click.option("--version", help="Version of the model; by default the newest.")
@env_option
@params_option
@click.pass_obj
def serve_command(
    metadata: ProjectMetadata,
    /,
    model: str,
    more: tuple[str, ...],
    host: str,
    port: int,
    only_print: bool,
    version: str | None,
    env: str | None,
    params: dict[str, Any],
) -> None:
    """Serve MODEL (sft, rl, dpo, reward_model, held_out_reward_model) by vLLM.

    What else stands on the line goes to `vllm serve`, such as --max-model-len 2048.
    """
    from almost_kedro.commands.serve.command import serve
    from almost_kedro.commands.serve.server import Address

    with one_clear_line():
        context = load_context(metadata.project_path, env, params)
        serve(context, model, version, Address(host, port), only_print, more)
