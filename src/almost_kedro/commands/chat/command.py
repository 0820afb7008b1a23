"""What `kedro chat` does: find who answers, start the program, talk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from kedro.framework.context import KedroContext
from kedro.io import DataCatalog

from almost_kedro.commands.chat.policies import (
    Draw,
    check_names,
    choose_sampling,
    find_judges,
    find_policies,
    name_last_trained,
)
from almost_kedro.commands.chat.questions import answer_questions, read_questions
from almost_kedro.commands.chat.show import show_loading
from almost_kedro.commands.chat.talk import Talk
from almost_kedro.commands.rows import print_rows
from almost_kedro.commands.terminal import open_console, until_the_pipe_closes
from almost_kedro.jobs.chat import make_chat_job, open_chat
from almost_kedro.options.all import check_options


def chat(
    context: KedroContext, names: Sequence[str], draw: Draw, ask: str | None, rewards: bool
) -> None:
    """Chat with policies; with `ask`, answer a file of questions instead.

    Without names, the last trained policy answers. Raises UserError for a policy that is not there,
    a file without questions, or whatever ends the program that answers.
    """
    check_names(names)
    questions = read_questions(ask) if ask else []
    catalog = context.catalog
    assert isinstance(catalog, DataCatalog)
    options = check_options(context.config_loader["parameters"])
    workplace = catalog.load("workplace")
    names = names or [name_last_trained(catalog)]
    policies = find_policies(names, catalog, options, workplace)
    judges = find_judges(catalog, options, workplace, rewards)
    job = make_chat_job(policies, judges, choose_sampling(draw, options), options)
    with ExitStack() as stack:
        with show_loading(names):
            program = stack.enter_context(open_chat(job))
        if ask:
            print_rows(
                dict(row)
                for row in answer_questions(questions, names, program, options.rules, rewards)
            )
        else:
            with until_the_pipe_closes():
                Talk(program, names, options.rules, rewards, open_console()).run()
