"""What a run has to do: counted by hand, and against what the smoke run really did."""

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog
from sessions import read_document

from almost_kedro.cli.project import load_context
from almost_kedro.commands.plan.assumptions import Assumptions, describe_assumptions
from almost_kedro.commands.plan.planner import Planner
from almost_kedro.commands.plan.workload import Ask, Work, count_processes, count_steps
from almost_kedro.costs.actual import Cost, list_costs
from almost_kedro.options.all import check_options
from almost_kedro.pipelines.evaluation.pages import METRICS

Key = tuple[str, str]


def make_planner(project: Path, root: Path, **params: Any) -> Planner:
    bootstrap_project(project)
    context = load_context(project, "smoke", {"data_root": str(root), **params})
    assert isinstance(context.catalog, DataCatalog)
    return Planner(check_options(context.config_loader["parameters"]), context.catalog)


def count(planner: Planner, assumptions: Assumptions) -> dict[Key, Work]:
    work = planner.count(assumptions)
    found = {(each.step, each.program): each for each in work}
    assert len(found) == len(work)
    return found


@pytest.fixture(scope="module")
def root(project: Path, evaluated: Path) -> Path:
    return evaluated


@pytest.fixture(scope="module")
def actual(root: Path) -> dict[Key, Cost]:
    made = [name for name in METRICS if list(root.glob(f"08_reporting/{name}.json"))]
    costs = list_costs({name: read_document(root, name) for name in made})
    return {(cost.step, cost.program): cost for cost in costs}


@pytest.fixture(scope="module")
def planned(project: Path, root: Path, actual: dict[Key, Cost]) -> dict[Key, Work]:
    """Counts under what the smoke run itself found: random bytes have other shares than English."""
    planner = make_planner(project, root)
    prompts = read_document(root, "prompts_metrics")
    comparisons = read_document(root, "comparisons_metrics")
    tokens = actual["prompts", ""].tokens or 0
    pairs = comparisons["n_comparisons"] / (14 * 5)
    usable = 1 - read_document(root, "responses_metrics")["n_dropped"] / 56
    return count(
        planner,
        replace(
            Assumptions(),
            prompts_kept=(prompts["n_prompts"] + prompts.get("dropped_surplus", 0))
            / prompts["n_requests"],
            prompt_length=tokens / prompts["n_requests"] / planner.lengths.seed,
            answer_length=sum(actual["responses", name].tokens or 0 for name in MODELS)
            / (56 * 256),
            best_length=(actual["responses", "tiny-large"].tokens or 0) / (14 * 256),
            policy_length=1.0,
            answers_usable=usable,
            # What random models ask is seldom a question.
            dialogues_on=float(("self_play_costs", "turn 2, answers") in actual),
            pairs_kept={"none": 1.0, "matched": pairs / 0.9},
        ),
    )


MODELS = ("tiny-large", "tiny-small")


def test_every_program_of_a_run_is_planned_under_its_name_in_the_report(
    planned: dict[Key, Work], actual: dict[Key, Cost]
) -> None:
    # What repeats the training with other seeds is in no metrics.
    seeds = {key for key in planned if key[0] == "reward_model_seeds"}
    assert set(actual) <= set(planned)
    assert set(planned) - set(actual) == seeds
    assert len(seeds) == 2


def test_requests_follow_from_the_options(
    planned: dict[Key, Work], actual: dict[Key, Cost]
) -> None:
    exact = [
        ("prompts", ""),
        *(("responses", name) for name in MODELS),
        ("self_play_costs", "turn 1, answers"),
        ("sft_policy", "base"),
        ("sft_policy", "sft"),
        ("sft_policy", "rewards"),
        ("rl_policy", "sft"),
        ("rl_policy", "held_out_rewards"),
        ("policy_verdicts", "prompted"),
        ("policy_verdicts", "prompted answers"),
        ("reward_verdicts", "reward_model"),
        ("open_answers", "rl"),
        ("judge_cards", ""),
    ]
    present = [key for key in exact if key in planned]
    assert len(present) >= len(exact) - 1  # "base" has a name of its own or shares one
    assert {key: planned[key].requests for key in present} == {
        key: actual[key].asked for key in present
    }


def test_what_the_run_itself_asked_before_is_known(
    planned: dict[Key, Work], actual: dict[Key, Cost]
) -> None:
    assert planned["rl_policy", "sft"].requests == actual["rl_policy", "sft"].cached == 1
    assert planned["rl_policy", "sft"].new_tokens == 0


def test_what_benchmarks_have_read_is_exact(
    planned: dict[Key, Work], actual: dict[Key, Cost]
) -> None:
    for key in (
        ("policy_verdicts", "base"),
        ("policy_verdicts", "base answers"),
        ("reward_verdicts", "reward_model"),
    ):
        assert planned[key].counted_tokens == pytest.approx(actual[key].tokens, rel=0.01), key


def test_what_policies_read_of_held_out_comparisons_is_near_what_it_was(
    planned: dict[Key, Work], actual: dict[Key, Cost]
) -> None:
    keys = [("preference_scores", f"held_out {name}") for name in ("base", "sft", "rl")]
    scored = planned["held_out_scores", "reward"].requests
    for key in keys:
        assert planned[key].requests == scored
        assert actual[key].asked == actual["held_out_scores", "reward"].asked
        # A handful of pairs: what each answer takes is near, not how many pairs there are.
        tokens, rows = actual[key].tokens or 0, actual[key].asked or 1
        assert planned[key].counted_tokens / scored == pytest.approx(tokens / rows, rel=0.5)


def test_a_set_of_the_users_is_read_by_policies_and_by_both_reward_models(
    project: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "Why?", "chosen": "So.", "rejected": ["No.", "x", "Hm."]}\n')
    planner = make_planner(project, tmp_path, evaluation={"preferences": {"mine": str(file)}})
    work = count(planner, Assumptions())
    own = {key: each for key, each in work.items() if key[1].startswith("mine ")}
    assert [program for _, program in own] == [
        *("mine base", "mine sft", "mine rl"),
        *("mine reward_model", "mine held_out_reward_model"),
    ]
    assert {each.requests for each in own.values()} == {4}
    # Bytes are tokens here: four times the dialogue with a space, and 3 + 3 + 1 + 3 characters.
    read = 4 * len("\n\nHuman: Why?\n\nAssistant: ") + 10
    assert own["preference_scores", "mine sft"].counted_tokens == read
    # Reward models read the eos, too.
    assert own["preference_scores", "mine reward_model"].counted_tokens == read + 4


def test_tokens_are_near_what_they_were(planned: dict[Key, Work], actual: dict[Key, Cost]) -> None:
    keys: list[list[Key]] = [
        [("prompts", "")],
        [("responses", name) for name in MODELS],
        [("self_play_costs", "turn 1, answers")],
        [("rl_policy_training", "")],
        [("open_answers", name) for name in ("base+prompted", "sft", "rl")],
    ]
    for group in keys:
        written = sum(actual[key].tokens or 0 for key in group)
        expected = sum(planned[key].counted_tokens for key in group)
        # A tiny random model ends its texts as chance will have it.
        assert expected == pytest.approx(written, rel=0.4), group


def test_trainings_have_as_many_tokens_as_their_texts(
    planned: dict[Key, Work], actual: dict[Key, Cost]
) -> None:
    keys = [(f"{name}_training", "") for name in ("reward_model", "held_out_reward_model")]
    read = sum(actual[key].tokens or 0 for key in keys)
    expected = sum(planned[key].training_tokens for key in keys)
    # Answers that are compared lose what was cut off.
    assert expected == pytest.approx(read, rel=0.5)


def test_whole_rounds_are_asked_for(project: Path, tmp_path: Path) -> None:
    work = count(make_planner(project, tmp_path), replace(Assumptions(), prompts_kept=0.25))
    [ask] = work["prompts", ""].asks
    assert (ask.requests, ask.calls) == (96, 3)  # 20 / 0.25 = 80, in rounds of 32


def test_seeds_train_and_score_again(project: Path, tmp_path: Path) -> None:
    work = count(make_planner(project, tmp_path, reward_model_seeds=3), Assumptions())
    again = [key for key in work if key[0] == "reward_model_seeds"]
    assert again == [
        ("reward_model_seeds", "seed 1, training"),
        ("reward_model_seeds", "seed 1, rewards"),
        ("reward_model_seeds", "seed 2, training"),
        ("reward_model_seeds", "seed 2, rewards"),
    ]
    first = work["reward_model_training", ""]
    assert work[again[2]].training_tokens == first.training_tokens


def test_answers_to_other_prompts_are_trained_on_and_tested(project: Path, tmp_path: Path) -> None:
    plain = count(make_planner(project, tmp_path), Assumptions())
    options = {"reward_model": {"mismatched": {"per_pair": 2}}}
    work = count(make_planner(project, tmp_path, **options), Assumptions())
    for step in ("reward_model_training", "held_out_reward_model_training", "reward_model_seeds"):
        key = (step, "seed 1, training" if step == "reward_model_seeds" else "")
        assert work[key].training_tokens == pytest.approx(2 * plain[key].training_tokens)
        before, after = plain[key].training, work[key].training
        assert before
        assert after
        assert (after.batch, after.steps) == (2 * before.batch, before.steps)
    # As many answers as both of each held-out comparison.
    tested = work["mismatched_pairs", "held_out"]
    assert tested.requests == plain["held_out_scores", "held_out"].requests
    assert set(work) - set(plain) == {
        ("mismatched_pairs", "reward"),
        ("mismatched_pairs", "held_out"),
    }


def list_programs(work: dict[Key, Work], step: str) -> list[str]:
    return [program for name, program in work if name == step]


def test_reward_models_that_reward_as_one_are_all_trained_and_asked(
    project: Path, tmp_path: Path
) -> None:
    options = {"reward_model": {"ensemble": 3}}
    plain = count(make_planner(project, tmp_path), Assumptions())
    work = count(make_planner(project, tmp_path, **options), Assumptions())
    step = "reward_model_training"
    assert list_programs(work, step) == [
        *("", "seed 1", "seed 2"),
        *("rewards", "seed 1, rewards", "seed 2, rewards"),
    ]
    # The other seed is a member's.
    assert [key for key in plain if key[0] == "reward_model_seeds"]
    assert not [key for key in work if key[0] == "reward_model_seeds"]
    thrice = [("held_out_scores", "reward"), ("self_play_costs", "turn 1, rewards")]
    thrice += [("sft_policy", "rewards"), ("reward_verdicts", "reward_model")]
    once = [("held_out_scores", "held_out"), ("rl_policy", "held_out_rewards"), ("judge_cards", "")]
    for keys, n in ((thrice, 3), (once, 1)):
        for key in keys:
            assert work[key].forward_tokens == pytest.approx(n * plain[key].forward_tokens), key
            assert work[key].requests == plain[key].requests
    rl, before = (each["rl_policy_training", ""] for each in (work, plain))
    assert rl.training
    assert rl.training.judges == 4
    # Two more rewards of each rollout and of each answer that is watched.
    text = rl.training_tokens / rl.asks[0].requests
    more = 2 * (rl.asks[0].requests + rl.asks[1].requests) * text
    assert rl.forward_tokens - before.forward_tokens == pytest.approx(more)


def test_reward_models_of_contrasts_are_trained_on_their_share_of_the_pairs(
    project: Path, tmp_path: Path
) -> None:
    options = {"reward_model": {"ensemble": ["size", "topic"]}, "reward_model_seeds": 1}
    plain = count(make_planner(project, tmp_path), Assumptions())
    work = count(make_planner(project, tmp_path, **options), Assumptions())
    step = "reward_model_training"
    assert list_programs(work, step) == ["", "topic", "rewards", "topic, rewards"]
    # Each contrast is one edge of the rubric's nine: ten pairs of five assistants, less a tie.
    whole = plain[step, ""].training_tokens
    for name in ("", "topic"):
        assert work[step, name].training_tokens == pytest.approx(whole / 9), name
    key = ("held_out_scores", "reward")
    assert work[key].forward_tokens == pytest.approx(2 * plain[key].forward_tokens)


def test_original_rules_stop_nowhere_before_the_limit(project: Path, tmp_path: Path) -> None:
    work = count(make_planner(project, tmp_path, rules="original"), Assumptions())
    assert work["prompts", ""].new_tokens == work["prompts", ""].asks[0].requests * 64
    for ask in work["responses", "tiny-small"].asks:
        assert ask.new == ask.limit


def test_a_judge_on_servers_reviews_each_pair_of_policies_in_both_orders(
    project: Path, tmp_path: Path
) -> None:
    planner = make_planner(
        project,
        tmp_path,
        models={"critic": {"source": "server", "id": "c"}},
        generation={"servers": [{"url": "http://localhost:1/v1", "model": "critic"}]},
        evaluation={"judge": "critic", "judge_max_new_tokens": 1000},
    )
    [ask] = count(planner, Assumptions())["judge_cards", ""].asks
    assert ask.requests == planner.lengths.questions * 6 * 2
    assert ask.new == ask.limit == 1000


def test_a_judge_by_letter_reads_each_pair_of_policies_and_of_hhh_in_both_orders(
    project: Path, tmp_path: Path
) -> None:
    planner = make_planner(project, tmp_path, evaluation={"judge": "tiny-large"})
    work, lengths = count(planner, Assumptions())["judge_cards", ""], planner.lengths
    cases = lengths.questions * 6 * 2
    assert work.requests == (cases + lengths.pairs * 2) * 2
    assert (work.kind, work.model) == ("likelihood", "tiny-large")
    assert work.forward_tokens > cases * lengths.judge_frame + lengths.judged_pairs
    assert lengths.judged_pairs > lengths.pairs * 2 * 500  # the prompt alone, a token for each byte


def test_work_sums_its_asks() -> None:
    asks = (Ask(10, 100, 5, 20, 30), Ask(4, 50, 2, 1, 30, calls=2))
    work = Work("s", "", "m", "generate", asks=asks)
    assert (work.prompt_tokens, work.prefix_tokens, work.new_tokens) == (58, 200, 204)
    # Of reinforcement learning, what the watch has written is not counted.
    assert replace(work, kind="rl").counted_tokens == 200


def test_programs_that_read_the_same_rows_share_a_process() -> None:
    score = Work("s", "a", "m", "score", requests=3)
    other = replace(score, program="b")
    assert count_processes([score, other], "embedded") == 1
    assert count_processes([score, replace(other, requests=4)], "embedded") == 2
    assert count_processes([], "embedded") == 0
    # All that a node asks policies for is one list of jobs.
    told = [replace(score, kind="likelihood"), replace(other, kind="likelihood", requests=4)]
    assert count_processes(told, "embedded") == 1


def test_policies_that_answer_share_a_process_unless_vllm_runs_them() -> None:
    base = Work("sft_policy", "base", "m", "generate", requests=6)
    answers = [base, replace(base, program="sft", requests=3)]
    assert count_processes(answers, "embedded") == count_processes(answers, "openai") == 1
    assert count_processes(answers, "vllm") == 2
    # Self-play asks for questions when it has the answers.
    turns = [replace(each, step="self_play_costs") for each in answers]
    assert count_processes(turns, "embedded") == 2


def test_steps_are_whole() -> None:
    assert count_steps(17, 2, 8) == 5
    assert count_steps(0, 2, 8) == 1


def test_every_assumption_is_said() -> None:
    lines = describe_assumptions(asdict(Assumptions()))
    assert len(lines) == len(fields(Assumptions))
    assert lines[0].startswith("prompts_kept: 0.81 of requests")
