"""All that a run has to do: the work of each program, in the order of the pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from almost_kedro.commands.plan.counts_benchmarks import count_benchmarks
from almost_kedro.commands.plan.inputs import PlanInputs
from almost_kedro.commands.plan.workload import Ask, Training, Work
from almost_kedro.contract import LETTERS
from almost_kedro.evaluation.judge import ORDERS
from almost_kedro.evaluation.stages import (
    POLICIES,
    SFT,
    list_judged,
)
from almost_kedro.feedback.ensemble import name_programs
from almost_kedro.feedback.splits import ANSWERED


def count_work(inputs: PlanInputs) -> list[Work]:
    """Count the work of all programs of a run."""
    return [
        count_prompts(inputs),
        *count_responses(inputs),
        *count_reward_models(inputs),
        *count_self_play(inputs),
        count_sft(inputs),
        *count_sft_test(inputs),
        count_rl(inputs),
        *count_rl_test(inputs),
        *count_benchmarks(inputs),
        *count_questions(inputs),
    ]


def count_prompts(inputs: PlanInputs) -> Work:
    """Return prompt generation: whole rounds, until enough prompts are expected."""
    options, lengths = inputs.options.prompt_generation, inputs.lengths
    needed = options.n_prompts / inputs.assumed.prompts_kept
    rounds = ceil(round(needed / options.round_size, 6))
    limit = options.max_new_tokens
    new = min(lengths.seed * inputs.assumed.prompt_length, limit)
    if inputs.options.rules == "original":  # no line's end stops it
        new = limit
    requests = rounds * options.round_size
    ask = Ask(requests, lengths.instruction, lengths.request, new, limit, calls=rounds)
    return inputs.generate("prompts", "", options.model, ask)


def count_responses(inputs: PlanInputs) -> Iterator[Work]:
    """Return the answers of all assistants: a program a model."""
    answered = sum(inputs.splits[name] for name in ANSWERED)
    asks: dict[str, list[Ask]] = {}
    for each in inputs.assistants:
        prefix, limit = inputs.lengths.prefixes[each["name"]], each["max_new_tokens"]
        ask = Ask(answered, prefix, inputs.prompt, inputs.assumed.answer_length * limit, limit)
        asks.setdefault(each["model"], []).append(ask)
    for model, own in asks.items():
        yield inputs.generate("responses", model, model, *own)


def count_reward_models(inputs: PlanInputs) -> Iterator[Work]:
    """Return trainings and scorings: post-validation, all reward models, and what tests them.

    Post-validation is counted if the options say how many pairs it has. Members of an ensemble are
    the first of the other seeds, so these find them trained and scored.
    """
    trained = inputs.options.reward_model
    others = trained.mismatched.per_pair if trained.mismatched else 0
    as_is, compared = inputs.options.as_is_filter, inputs.compared
    pairs, held_out = (inputs.kept_pairs(name) for name in ("reward_model", "held_out"))
    if as_is.enabled and as_is.max_pairs is not None:
        judged = 2 * sum(map(inputs.kept_pairs, ANSWERED))
        yield train_reward_model(inputs, "post_validation", "training", as_is.max_pairs)
        yield inputs.score("post_validation", "rewards", judged, compared)
    yield from count_members(inputs, pairs, others)
    test = inputs.kept_pairs("held_out_reward_model")
    yield train_reward_model(inputs, "held_out_reward_model_training", "", test, others)
    yield inputs.score_together("held_out_scores", "reward", 2 * held_out, compared)
    yield inputs.score("held_out_scores", "held_out", 2 * held_out, compared)
    for seed in range(trained.n_members, inputs.options.reward_model_seeds):
        step, name = "reward_model_seeds", f"seed {seed}"
        yield train_reward_model(inputs, step, f"{name}, training", pairs, others)
        yield inputs.score(step, f"{name}, rewards", 2 * held_out, compared)
    if others:
        yield inputs.score_together("mismatched_pairs", "reward", others * held_out, compared)
        yield inputs.score("mismatched_pairs", "held_out", others * held_out, compared)


def count_members(inputs: PlanInputs, pairs: float, others: int) -> Iterator[Work]:
    """Return the trainings of reward models that reward as one, and what measures their scales."""
    step, trained = "reward_model_training", inputs.options.reward_model
    programs = name_programs(trained.n_members, trained.contrasts)
    for (training, _), share in zip(programs, inputs.share_of_members(), strict=True):
        yield train_reward_model(inputs, step, training, share * pairs, others)
    for _, scoring in programs if len(programs) > 1 else []:
        yield inputs.score(step, scoring, 2 * pairs, inputs.compared)


def train_reward_model(
    inputs: PlanInputs, step: str, program: str, pairs: float, others: int = 0
) -> Work:
    """Return the training of a reward model on so many comparisons, with other texts beside each.

    These are answers to other prompts, as long as those that are compared.
    """
    options = inputs.options.reward_model
    tokens = (2 + others) * pairs * min(inputs.compared, options.max_length)
    longest = inputs.longest_prompt + max(each["max_new_tokens"] for each in inputs.assistants)
    return inputs.train(step, program, options, pairs, tokens, longest, others=others)


def list_turns(inputs: PlanInputs) -> list[tuple[float, float]]:
    """Return self-play turn by turn: dialogues, and the tokens of each before its answer."""
    options, assumed = inputs.options.self_play, inputs.assumed
    going, dialogue = float(inputs.splits["self_play"]), inputs.prompt
    answer = assumed.best_length * options.max_new_tokens
    question = assumed.question_length * options.user_max_new_tokens
    turns = []
    for _ in range(options.turns):
        if not going:  # as `play_dialogues` ends
            break
        turns.append((going, dialogue))
        going *= assumed.turns_kept * assumed.dialogues_on
        dialogue += answer + inputs.lengths.frame + question
    return turns


def count_self_play(inputs: PlanInputs) -> Iterator[Work]:
    """Return candidates, their rewards and the user's questions, turn by turn."""
    options, assumed = inputs.options.self_play, inputs.assumed
    step, model = "self_play_costs", inputs.best["model"]
    limit = options.user_max_new_tokens
    scored = read = 0.0
    for number, (going, dialogue) in enumerate(list_turns(inputs), start=1):
        ask = inputs.ask_best(going * options.candidates, dialogue, options.max_new_tokens)
        yield inputs.generate(step, f"turn {number}, answers", model, ask)
        rows, tokens = ask.requests * assumed.answers_usable, dialogue + ask.new + 1
        yield inputs.score_together(step, f"turn {number}, rewards", rows, tokens)
        scored, read = scored + rows, read + rows * tokens
        if number < options.turns:
            kept, prefix = going * assumed.turns_kept, inputs.lengths.user_prefix
            question = Ask(kept, prefix, dialogue + ask.new, assumed.question_length * limit, limit)
            yield inputs.generate(step, f"turn {number}, questions", model, question)
    yield inputs.score(step, "held-out rewards", scored, read / scored if scored else 0.0)


def count_sft(inputs: PlanInputs) -> Work:
    """Return SFT on the answers that self-play keeps, each after its dialogue."""
    options, play, turns = inputs.options.sft, inputs.options.self_play, list_turns(inputs)
    kept = [going * inputs.assumed.turns_kept for going, _ in turns]
    answer = inputs.assumed.best_length * play.max_new_tokens
    texts = [min(dialogue + answer + 1, options.max_length) for _, dialogue in turns]
    tokens = sum(n * text for n, text in zip(kept, texts, strict=True))
    turn = play.max_new_tokens + play.user_max_new_tokens + inputs.lengths.frame
    longest = inputs.longest_prompt + (len(turns) - 1) * turn + play.max_new_tokens
    step, labelled = "sft_policy_training", play.max_new_tokens
    return inputs.train(step, "", options, sum(kept), tokens, longest, labelled)


def count_sft_test(inputs: PlanInputs) -> Iterator[Work]:
    """Return the test of base model, best assistant and SFT policy."""
    step, rows = "sft_policy", inputs.splits["policy_test"]
    limit = inputs.options.policy_test.max_new_tokens
    yield from count_answers(inputs, step, rows, inputs.prompt, limit)
    yield from score_test(inputs, step, 3 * rows, limit)


def score_test(
    inputs: PlanInputs, step: str, rows: float, limit: int, of: str = ""
) -> Iterator[Work]:
    """Return the rewards of policies' answers, by both reward models; `of` begins their names."""
    tokens = inputs.prompt + inputs.assumed.policy_length * limit + 1
    yield inputs.score_together(step, f"{of}rewards", rows, tokens)
    yield inputs.score(step, f"{of}held_out_rewards", rows, tokens)


def count_answers(
    inputs: PlanInputs,
    step: str,
    requests: float,
    prompt: float,
    limit: int,
    policy: str = SFT.name,
) -> Iterator[Work]:
    """Return how base model, best assistant and a policy answer; one program for one model."""
    base, best = inputs.options.sft.model, inputs.best["model"]
    plain = inputs.ask_policy(requests, prompt, limit)
    shown = inputs.ask_best(requests, prompt, limit)
    if base == best:
        yield inputs.generate(step, "base+prompted", base, plain, shown)
    else:
        yield inputs.generate(step, "base", base, plain)
        yield inputs.generate(step, "prompted", best, shown)
    yield inputs.generate(step, policy, base, plain)


def count_rl(inputs: PlanInputs) -> Work:
    """Return the training: rollouts, their rewards and log-probabilities, steps, and the watch."""
    options, limit = inputs.options.rl, inputs.options.rl.max_new_tokens
    new = inputs.assumed.rollout_length * limit
    prompt = min(inputs.prompt, options.max_length)
    rollouts = options.steps * options.batch_size * options.accumulation * inputs.ranks
    scores = 1 + ceil(options.steps / options.watch.every)
    watched = scores * inputs.splits["watch"]
    # Rewards, the policy's own log-probabilities, and the reference's.
    judges = inputs.options.reward_model.n_members
    passes = judges + 1 + (options.beta > 0)
    text = prompt + new + 1
    return Work(
        "rl_policy_training",
        "",
        inputs.options.sft.model,
        "rl",
        asks=(
            Ask(rollouts, 0, prompt, new, limit, calls=options.steps),
            Ask(watched, 0, prompt, new, limit, calls=scores),
        ),
        forward_tokens=(passes * rollouts + (judges + 1) * watched) * text,
        training_tokens=rollouts * text,
        training=Training(
            steps=options.steps,
            batch=options.batch_size,
            longest=min(inputs.longest_prompt, options.max_length) + limit,
            ranks=inputs.ranks,
            accumulation=options.accumulation,
            checkpointing=options.gradient_checkpointing,
            labelled=limit,
            reference=options.beta > 0,
            rank=options.rank,
            in_4bit=options.in_4bit,
            judges=judges + 1,
        ),
    )


def count_rl_test(inputs: PlanInputs) -> Iterator[Work]:
    """Return the test of the RL policy beside the SFT policy, which has answered in its own."""
    step, model, rows = "rl_policy", inputs.options.sft.model, inputs.splits["policy_test"]
    limit = inputs.options.policy_test.max_new_tokens
    yield Work(step, "sft", model, "generate", requests=rows)
    yield inputs.generate(step, "rl", model, inputs.ask_policy(rows, inputs.prompt, limit))
    yield from score_test(inputs, step, 2 * rows, limit)


def count_questions(inputs: PlanInputs) -> Iterator[Work]:
    """Return open questions, and their judging: by rewards, by letters, or by a server's reviews.

    Reviews and letters are asked for of each pair of policies, in both orders; letters of pairs of
    static HHH, too.
    """
    options, lengths = inputs.options.evaluation, inputs.lengths
    step, n, limit = "open_answers", lengths.questions, options.max_new_tokens
    plain = inputs.ask_policy(n, lengths.question, limit)
    yield from count_answers(inputs, step, n, lengths.question, limit)
    yield inputs.generate(step, "rl", inputs.options.sft.model, plain)
    cases = n * len(list_judged(POLICIES)) * len(ORDERS)
    if inputs.options.judge_kind == "rewards":
        tokens = lengths.question + plain.new + 1
        yield inputs.score("judge_cards", "", len(POLICIES) * n, tokens)
    elif inputs.options.judge_kind == "letters":
        yield Work(
            "judge_cards",
            "",
            options.judge,
            "likelihood",
            requests=(cases + lengths.pairs * len(ORDERS)) * len(LETTERS),
            forward_tokens=cases * (lengths.judge_frame + 2 * plain.new) + lengths.judged_pairs,
        )
    else:
        requests, most = cases, options.judge_max_new_tokens
        new, prompt = inputs.assumed.review_length * most, lengths.question + 2 * plain.new
        ask = Ask(requests, 0, prompt, new, most)
        yield inputs.generate("judge_cards", "", options.judge, ask)
