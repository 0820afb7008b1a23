"""Counts of `synthetic_feedback` and `reward_model`."""

from __future__ import annotations

from math import ceil

from almost_kedro.feedback.splits import ANSWERED
from almost_kedro.plan.setting import Setting
from almost_kedro.plan.work import Ask, Training, Work, count_steps


def count_feedback(setting: Setting) -> list[Work]:
    """Return prompt generation, and the answers of all assistants: a program a model."""
    answered = sum(setting.splits[name] for name in ANSWERED)
    models = dict.fromkeys(each["model"] for each in setting.assistants)
    share = setting.assumptions.answer_length
    return [
        count_prompts(setting),
        *(
            Work(
                pipeline="synthetic_feedback",
                step="responses",
                program=model,
                model=model,
                kind="generate",
                requests=answered * sum(each["model"] == model for each in setting.assistants),
                asks=tuple(
                    Ask(
                        requests=answered,
                        prefix=setting.lengths.prefixes[each["name"]],
                        prompt=setting.prompt,
                        new=share * each["max_new_tokens"],
                        limit=each["max_new_tokens"],
                    )
                    for each in setting.assistants
                    if each["model"] == model
                ),
            )
            for model in models
        ),
    ]


def count_prompts(setting: Setting) -> Work:
    """Return prompt generation: whole rounds, until enough prompts are expected."""
    options, lengths = setting.options.prompt_generation, setting.lengths
    needed = options.n_prompts / setting.assumptions.prompts_kept
    rounds = ceil(round(needed / options.round_size, 6))
    new = lengths.seed * setting.assumptions.prompt_length
    if setting.options.rules == "original":  # no line's end stops it
        new = options.max_new_tokens
    return Work(
        pipeline="synthetic_feedback",
        step="prompts",
        program="",
        model=options.model,
        kind="generate",
        requests=rounds * options.round_size,
        asks=(
            Ask(
                requests=rounds * options.round_size,
                prefix=lengths.instruction,
                prompt=lengths.request,
                new=min(new, options.max_new_tokens),
                limit=options.max_new_tokens,
                calls=rounds,
            ),
        ),
    )


def count_reward_models(setting: Setting) -> list[Work]:
    """Return the trainings of reward models, and the scoring of held-out comparisons."""
    rows = 2 * setting.kept_pairs("held_out")
    scored = [
        setting.score("reward_model", "held_out_scores", name, rows, count_text(setting))
        for name in ("reward", "held_out")
    ]
    work = [
        *count_as_is(setting),
        count_training(setting, "reward_model_training", setting.kept_pairs("reward_model")),
        count_training(
            setting,
            "held_out_reward_model_training",
            setting.kept_pairs("held_out_reward_model"),
        ),
        *scored,
    ]
    for number in range(1, setting.options.reward_model_seeds):
        name = f"seed {number}"
        pairs = setting.kept_pairs("reward_model")
        step = "reward_model_seeds"
        work.append(count_training(setting, step, pairs, f"{name}, training"))
        work.append(
            setting.score("reward_model", step, f"{name}, rewards", rows, count_text(setting))
        )
    return work


def count_as_is(setting: Setting) -> list[Work]:
    """Return post-validation, as far as the options say how many pairs it has."""
    options = setting.options.as_is_filter
    if not options.enabled or options.max_pairs is None:
        return []
    step = "post_validation"
    rows = 2 * sum(setting.kept_pairs(name) for name in ANSWERED)
    return [
        count_training(setting, step, options.max_pairs, "training"),
        setting.score("reward_model", step, "rewards", rows, count_text(setting)),
    ]


def count_text(setting: Setting) -> float:
    """Return the tokens of a compared answer with its prompt and the eos token."""
    return setting.prompt + setting.assumptions.compared_length * setting.answer_limit + 1


def count_training(setting: Setting, step: str, pairs: float, program: str = "") -> Work:
    """Return the training of a reward model.

    Args:
        setting: What all counts start from.
        step: Its name in the report's costs.
        pairs: Comparisons.
        program: Its place there.
    """
    options, launch = setting.options.reward_model, setting.options.launch
    ranks = launch.processes * launch.nodes
    longest = setting.longest_prompt + max(each["max_new_tokens"] for each in setting.assistants)
    return Work(
        pipeline="reward_model",
        step=step,
        program=program,
        model=options.model,
        kind="reward",
        training_tokens=2 * pairs * options.epochs * min(count_text(setting), options.max_length),
        training=Training(
            steps=count_steps(
                pairs, options.epochs, options.batch_size * options.accumulation * ranks
            ),
            batch=2 * options.batch_size,
            longest=min(longest, options.max_length),
            ranks=ranks,
            checkpointing=options.gradient_checkpointing,
        ),
    )
