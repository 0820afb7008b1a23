"""What a run may find: figures by hand, of a run whose every step gains."""

from typing import Any, cast

from almost_kedro.pages.report import Findings
from almost_kedro.pages.report.provenance import RunRecord
from almost_kedro.rows.evaluation_metrics import HumanVotes

SHARE = {"value": 0.6, "low": 0.55, "high": 0.65}
EVEN = {"value": 0.5, "low": 0.45, "high": 0.55}
# A model that seldom gives the same letter in both orders.
SELDOM = {**EVEN, "value": 0.2}
LENGTH = {"value": 1099.6, "low": 90.0, "high": 1200.4}
GAIN = {"value": 0.1, "low": 0.05, "high": 0.15, "low_one_sided": 0.06}
NO_GAIN = {"value": 0.1, "low": -0.05, "high": 0.25, "low_one_sided": -0.02}
SOURCE = {"name": "x", "kind": "own", "location": "x.json", "n": 400, "sha256": "0"}
EDGE = "tiny-A-3shot-vs-tiny-B-1shot"


def make_reward_report(**changes: Any) -> dict[str, Any]:
    return {
        "n": 100,
        "n_prompts": 60,
        "accuracy": SHARE,
        "floors": {"longer_wins": EVEN, "surface": {**EVEN, "value": 0.51}},
        "best_floor": "surface",
        "above_best_floor": {
            "difference": 0.09,
            "low": 0.02,
            "high": 0.16,
            "low_one_sided": 0.03,
        },
        "by_edge": {EDGE: {**SHARE, "n": 100}},
        "by_factor": {"shots+demonstrations": {**SHARE, "n": 100}},
        **changes,
    }


def make_policies(*differences: str) -> dict[str, Any]:
    found = {"n": 40, "reward": GAIN, "held_out_reward": GAIN, "held_out_win_rate": SHARE}
    ended = {"n": 40, "share_cut_off": 0.05, "share_ended_by_eos": 0.9}
    return {
        "policies": {name.split("-vs-")[0]: dict(ended) for name in differences},
        "differences": {name: dict(found) for name in differences},
    }


def make_evaluation(
    gain: dict[str, float] = GAIN, wins: dict[str, float] = SHARE
) -> dict[str, Any]:
    names = ("base", "prompted", "sft", "rl")
    floors = {"chance": {"accuracy": EVEN}}
    differences = {"sft-vs-base": gain, "rl-vs-base": gain}
    benchmark = {
        "source": SOURCE,
        "n": 400,
        "models": {name: {"accuracy": SHARE} for name in names},
        "floors": floors,
        "differences": differences,
    }
    cards = {
        f"{name}-vs-base": {
            "model_a": name,
            "model_b": "base",
            "win_rate": wins,
            "length_controlled_win_rate": wins,
        }
        for name in names[1:]
    }
    trained = {"n_prompts": 70, "prompts_that_repeat": 0}
    trained |= {"n_demonstrations": 20, "demonstrations_that_repeat": 0}
    return {
        "hhh": {**benchmark, "position_bias": {name: {"flips": SELDOM} for name in names}},
        "hhh_likelihood": benchmark,
        "hhh_per_token": benchmark,
        "mc1": benchmark,
        "preferences": {"hhh": make_preferences()},
        "questions": {
            "source": SOURCE,
            "n": 400,
            "judge": "critic",
            "models": {
                name: {"n": 400, "length": LENGTH, "share_cut_off": SHARE} for name in names
            },
            "cards": cards,
        },
        "contamination": {"n_prompts": 90, "prompts_that_repeat": 0, "training": trained},
        "models": {name: {"fingerprint": f"f-{name}"} for name in names},
    }


# What a judge by letter is worth.
WORTH = {
    "n": 56,
    "accuracy": {"value": 0.7, "low": 0.55, "high": 0.8},
    "flip_rate": {"value": 0.25, "low": 0.1, "high": 0.4},
    "letter_mass": 0.9,
}


def make_preferences(**changes: Any) -> dict[str, Any]:
    """Two judges of a set with two subsets."""
    right = {"n": 400, "accuracy": SHARE}
    even = {"n": 400, "accuracy": EVEN}
    subsets = {"helpful": {**right, "n": 150}, "honest": {**even, "n": 250}}
    return {
        "source": SOURCE,
        "n": 400,
        "n_prompts": 390,
        "models": {
            "reward_model": {**right, "by_category": subsets},
            "sft": {**even, "by_category": subsets},
        },
        "floors": {"longer_wins": {**even, "by_category": subsets}},
        "differences": {},
        **changes,
    }


def make_metrics(**changes: Any) -> dict[str, Any]:
    worker = {"requests_generated": 6, "requests_from_cache": 4, "tokens_generated": 50}
    worker |= {"seconds": 2.0, "peak_memory_mb": 300.0}
    training = {"tokens": 900, "load_seconds": 1.0, "train_seconds": 9.0, "peak_memory_mb": 5000.0}
    gain = {
        "n": 4,
        "n_groups": 30,
        "held_out_reward": 0.5,
        "held_out_low": 0.4,
        "held_out_high": 0.6,
    }
    return {
        "prompts_metrics": {"n_prompts": 90, "worker": worker},
        "comparisons_metrics": {
            "n_comparisons": 200,
            "n_candidates": 300,
            "n_dropped": 100,
            "edges": {EDGE: {"n": 200, "chosen_longer": 0.5}},
            "factors": {"shots": 200, "demonstrations": 200},
        },
        "reward_model_training_metrics": training,
        "reward_model_metrics": make_reward_report(),
        "held_out_reward_model_metrics": make_reward_report(),
        "reward_model_seeds_metrics": {"n_seeds": 1, "accuracies": [0.6]},
        "mismatched_pairs_metrics": {"n_pairs": 0},
        "reward_model_ensemble_metrics": {"n_members": 1},
        "gate": {"passed": True, "reasons": []},
        "self_play_metrics": {"gain": gain},
        "sft_policy_metrics": make_policies("sft-vs-base"),
        "rl_policy_metrics": make_policies("rl-vs-sft"),
        "rl_policy_training_metrics": {"steps": 8, "stopped": False, "reason": ""},
        "evaluation_metrics": make_evaluation(),
        **changes,
    }


def make_options(**changes: Any) -> dict[str, Any]:
    assistants = [
        {"model": "tiny", "demonstrations": "A", "shots": 3},
        {"model": "tiny", "demonstrations": "B", "shots": 1},
    ]
    return {
        "seed": 0,
        "rules": "corrected",
        "models": {"tiny": {"source": "tiny", "aligned": False}},
        "prompt_generation": {"model": "tiny"},
        "response_generation": {"assistants": assistants},
        "comparisons": {"length_control": "matched"},
        "reward_model": {"model": "tiny"},
        "sft": {"model": "tiny"},
        "self_play": {"candidates": 4},
        "rl": {"algorithm": "rloo"},
        "evaluation": {"judge": "critic"},
        **changes,
    }


def make_run(**options: Any) -> RunRecord:
    return RunRecord(
        session_id="2026-01-02T03.04.05.678Z",
        env="smoke",
        pipeline="evaluation",
        git_commit="abc",
        options=make_options(**options),
        versions={
            "comparisons_metrics": "V2",
            "rule_audit_metrics": "V1",
            "human_votes_metrics": "V3",
        },
        packages={"python": "3.11"},
    )


def make_human_votes(**changes: Any) -> HumanVotes:
    """Votes of two people on one page."""
    found: dict[str, Any] = {
        "page": "0123456789abcdef",
        "model_a": "sft",
        "model_b": "base",
        "answers": {"open_answers": "V4"},
        "n_people": 2,
        "n_questions": 1200,
        "n_voted": 1100,
        "n_votes": 1900,
        "n_skipped": 3,
        "wins_a": 1000,
        "ties": 280,
        "wins_b": 620,
        "win_rate": SHARE,
        "left_wins": EVEN,
        "agreement": {**SHARE, "n": 800},
        "alpha": 0.257,
        "judge": "critic",
        "judges": {"reward_model": {**SHARE, "n": 40}, "judge": {**EVEN, "n": 1050}},
    }
    return cast(HumanVotes, found | changes)


def make_chart(x: list[Any], y: list[Any], **more: Any) -> dict[str, Any]:
    layout = {"title": {"text": "T"}, "xaxis": {"title": {"text": "step"}}, "template": "plain"}
    return {"data": [{"type": "scatter", "name": "a", "x": x, "y": y, **more}], "layout": layout}


def make_findings(text: str = "Hello.", **changes: Any) -> Findings:
    """All that the page shows; `text` stands wherever a model writes."""
    answer = {"finish_reason": "length", "n_tokens": 3, "text": text}
    rewards = {"reward": 0.5, "held_out_reward": -0.25}
    ids = {"original": "rule_12_short", "corrected": "ok", "rule": "ok", "parent_ids": []}
    vote = {"model_a": "sft", "model_b": "base", "order": "any", "score_first": 1.0}
    vote |= {"score_second": 0.5, "verdict": "win", "valid": True, "reason": text, "review": text}
    from almost_kedro.pages.report.charts import CHARTS

    values: dict[str, Any] = {
        "run": make_run(),
        "metrics": make_metrics(),
        "plots": {chart.plot: make_chart([1, 2], [0.5, 0.6]) for chart in CHARTS},
        "ledgers": {"ledger_responses": [{"row_id": "r1", "detail": text, **ids}]},
        "prompts": [{"prompt_id": "p1", "text": text, "shot_ids": [], "request_id": "q"}],
        "questions": [{"item_id": "o1", "question": text}],
        "answers": [{"answer_id": "a1", "item_id": "o1", "policy": "sft", **answer}],
        "votes": [{"vote_id": "v", "item_id": "o1", "answer_a": "", "answer_b": "", **vote}],
        "test_answers": [
            {"answer_id": "t1", "prompt_id": "p1", "policy": "rl", **answer, **rewards}
        ],
        "rule_audit": None,
    }
    return Findings(**{**values, **changes})
