"""Counts of `rmsp_sft` and `rl`: self-play, fine-tuning, reinforcement learning and the tests."""

from __future__ import annotations

from typing import Literal

from almost_kedro.plan.setting import Setting
from almost_kedro.plan.work import Ask, Training, Work, count_steps


def count_rmsp_sft(setting: Setting) -> list[Work]:
    """Return self-play, SFT and the test of the SFT policy."""
    plays, kept = count_self_play(setting)
    return [*plays, count_sft(setting, kept), *count_sft_test(setting)]


def count_self_play(setting: Setting) -> tuple[list[Work], list[float]]:
    """Return self-play turn by turn, and how many answers each turn keeps."""
    options, assumed = setting.options.self_play, setting.assumptions
    answer = assumed.best_length * options.max_new_tokens
    question = assumed.question_length * options.user_max_new_tokens
    step, turns = "self_play_costs", float(setting.splits["self_play"])
    dialogue = setting.prompt
    work: list[Work] = []
    kept, scored, scored_tokens = [], 0.0, 0.0
    for number in range(1, options.turns + 1):
        if not turns:  # as `play_dialogues` ends
            break
        asked = turns * options.candidates
        ask = Ask(
            asked,
            setting.lengths.prefixes[setting.best["name"]],
            dialogue,
            answer,
            options.max_new_tokens,
        )
        work.append(_generate(setting, f"turn {number}, answers", ask))
        rows, tokens = asked * assumed.answers_usable, dialogue + answer + 1
        scored, scored_tokens = scored + rows, scored_tokens + rows * tokens
        work.append(setting.score("rmsp_sft", step, f"turn {number}, rewards", rows, tokens))
        kept.append(turns * assumed.turns_kept)
        if number < options.turns:
            ask = Ask(
                kept[-1],
                setting.lengths.user_prefix,
                dialogue + answer,
                question,
                options.user_max_new_tokens,
            )
            work.append(_generate(setting, f"turn {number}, questions", ask))
            turns = kept[-1] * assumed.dialogues_on
            dialogue += answer + setting.lengths.frame + question
    mean = scored_tokens / scored if scored else 0.0
    work.append(setting.score("rmsp_sft", step, "held-out rewards", scored, mean))
    return work, kept


def _generate(setting: Setting, program: str, ask: Ask) -> Work:
    return Work(
        pipeline="rmsp_sft",
        step="self_play_costs",
        program=program,
        model=setting.best["model"],
        kind="generate",
        requests=ask.requests,
        asks=(ask,),
    )


def count_sft(setting: Setting, kept: list[float]) -> Work:
    """Return SFT on the answers that self-play keeps, each after its dialogue."""
    options, play, launch = setting.options.sft, setting.options.self_play, setting.options.launch
    ranks = launch.processes * launch.nodes
    answer = setting.assumptions.best_length * play.max_new_tokens
    question = setting.assumptions.question_length * play.user_max_new_tokens
    turn = answer + setting.lengths.frame + question
    texts = [setting.prompt + number * turn + answer + 1 for number in range(len(kept))]
    tokens = sum(n * min(text, options.max_length) for n, text in zip(kept, texts, strict=True))
    whole = play.max_new_tokens + play.user_max_new_tokens + setting.lengths.frame
    longest = setting.longest_prompt + (len(kept) - 1) * whole + play.max_new_tokens
    return Work(
        pipeline="rmsp_sft",
        step="sft_policy_training",
        program="",
        model=options.model,
        kind="sft",
        training_tokens=tokens * options.epochs,
        training=Training(
            steps=count_steps(
                sum(kept), options.epochs, options.batch_size * options.accumulation * ranks
            ),
            batch=options.batch_size,
            longest=min(longest, options.max_length),
            ranks=ranks,
            checkpointing=options.gradient_checkpointing,
            labelled=min(play.max_new_tokens, options.max_length),
        ),
    )


def count_sft_test(setting: Setting) -> list[Work]:
    """Return the test of base model, best assistant and SFT policy."""
    rows, limit = setting.splits["policy_test"], setting.options.policy_test.max_new_tokens
    own = count_answers(setting, "rmsp_sft", "sft_policy", rows, setting.prompt, limit)
    return [*own, *_score_test(setting, "rmsp_sft", "sft_policy", 3 * rows, limit)]


def count_answers(
    setting: Setting,
    pipeline: Literal["rmsp_sft", "evaluation"],
    step: str,
    requests: float,
    prompt: float,
    limit: int,
) -> list[Work]:
    """Return how base model, best assistant and SFT policy answer; one program for one model."""
    base, prompted = setting.options.sft.model, setting.best["model"]
    plain = setting.answer(requests, prompt, limit)
    shown = setting.answer(requests, prompt, limit, prompted=True)
    programs: dict[str, tuple[str, tuple[Ask, ...]]]
    programs = {"base": (base, (plain,)), "prompted": (prompted, (shown,))}
    if base == prompted:
        programs = {"base+prompted": (base, (plain, shown))}
    return [
        Work(
            pipeline=pipeline,
            step=step,
            program=program,
            model=model,
            kind="generate",
            requests=requests * len(asks),
            asks=asks,
        )
        for program, (model, asks) in {**programs, "sft": (base, (plain,))}.items()
    ]


def count_rl(setting: Setting) -> list[Work]:
    """Return reinforcement learning, and the test of its policy."""
    rows, limit = setting.splits["policy_test"], setting.options.policy_test.max_new_tokens
    answer = setting.answer(rows, setting.prompt, limit)
    model, step = setting.options.sft.model, "rl_policy"
    return [
        count_rl_training(setting),
        # The SFT policy was asked the same in its own test.
        Work("rl", step, "sft", model, "generate", requests=rows, known=rows),
        Work("rl", step, "rl", model, "generate", requests=rows, asks=(answer,)),
        *_score_test(setting, "rl", step, 2 * rows, limit),
    ]


def _score_test(setting: Setting, pipeline: str, step: str, rows: float, limit: int) -> list[Work]:
    tokens = setting.prompt + setting.assumptions.policy_length * limit + 1
    return [
        setting.score(pipeline, step, program, rows, tokens)
        for program in ("rewards", "held_out_rewards")
    ]


def count_rl_training(setting: Setting) -> Work:
    """Return the training: rollouts, their rewards and log-probabilities, steps, and the watch."""
    options, launch = setting.options.rl, setting.options.launch
    ranks = launch.processes * launch.nodes
    rows = options.batch_size * options.accumulation * ranks
    new = setting.assumptions.rollout_length * options.max_new_tokens
    prompt = min(setting.prompt, options.max_length)
    scores = 1 + -(-options.steps // options.watch.every)
    watched = scores * setting.splits["watch"]
    rollouts = options.steps * rows
    # Rewards, the policy's own log-probabilities, and the reference's.
    passes = 2 + (options.beta > 0)
    text = prompt + new + 1
    return Work(
        pipeline="rl",
        step="rl_policy_training",
        program="",
        model=setting.options.sft.model,
        kind="rl",
        asks=(
            Ask(rollouts, 0, prompt, new, options.max_new_tokens, calls=options.steps),
            Ask(watched, 0, prompt, new, options.max_new_tokens, calls=scores),
        ),
        forward_tokens=(passes * rollouts + 2 * watched) * text,
        training_tokens=rollouts * text,
        training=Training(
            steps=options.steps,
            batch=options.batch_size,
            longest=min(setting.longest_prompt, options.max_length) + options.max_new_tokens,
            ranks=ranks,
            checkpointing=options.gradient_checkpointing,
            labelled=options.max_new_tokens,
            reference=options.beta > 0,
        ),
    )
