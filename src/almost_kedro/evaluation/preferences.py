"""Who prefers the right answer: reward models, and policies by their implicit rewards.

The implicit reward of an answer is its log-probability under a policy - that under the model which
training started from (Rafailov et al. 2023, arXiv 2305.18290, equation 5, at beta 1 and without the
term that all answers to a dialogue share). It says what training changed in a policy's preferences,
whatever the policy writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from almost_kedro.contract import row_id
from almost_kedro.evaluation.model_report import compare, measure
from almost_kedro.evaluation.reward_report import name_edge
from almost_kedro.evaluation.stages import BASE, PROMPTED
from almost_kedro.evaluation.truthfulqa import judge_choices
from almost_kedro.evaluation.verdicts import read_score
from almost_kedro.feedback.responses import build_question
from almost_kedro.feedback.reward_rows import AnswerRow
from almost_kedro.options.evaluation import HELD_OUT_SET, HHH_SET
from almost_kedro.rows.evaluation import PairItem, Source
from almost_kedro.rows.evaluation_metrics import PreferenceReport
from almost_kedro.rows.feedback import Comparison
from almost_kedro.rows.preferences import PreferenceItem, PreferenceVerdict

# By judge, the scores of answers by their ids (see `list_answers`).
Scores = dict[str, dict[str, float]]
LONGER_WINS = "longer_wins"
# Judges that read nothing: what they score an answer with.
FLOORS: Mapping[str, Callable[[str], float]] = {
    "chance": lambda _: 0.0,
    LONGER_WINS: lambda answer: float(len(answer)),
    "shorter_wins": lambda answer: -float(len(answer)),
}


def list_hhh(items: Sequence[PairItem]) -> list[PreferenceItem]:
    """Return the pairs of static HHH as items; they keep their ids."""
    return [
        PreferenceItem(
            item_id=item["item_id"],
            set=HHH_SET,
            prompt_id=name_prompt(item["dialogue"]),
            category=item["category"],
            dialogue=item["dialogue"],
            choices=[item["chosen"], item["rejected"]],
        )
        for item in items
    ]


def list_held_out(comparisons: Sequence[Comparison]) -> list[PreferenceItem]:
    """Return comparisons of held-out prompts as items, by edge of the rubric."""
    return [
        PreferenceItem(
            item_id=row["comparison_id"],
            set=HELD_OUT_SET,
            prompt_id=row["prompt_id"],
            category=name_edge(row),
            dialogue=build_question(row["prompt"], "corrected"),
            choices=[row["chosen"], row["rejected"]],
        )
        for row in comparisons
    ]


def name_prompt(dialogue: str) -> str:
    """Name what items of one dialogue share; the bootstrap draws it."""
    return row_id("dialogue", dialogue)


def list_answers(items: Sequence[PreferenceItem]) -> list[AnswerRow]:
    """List all answers of all items, named ITEM/NUMBER, from 0; the right one is the first."""
    return [
        AnswerRow(id=f"{item['item_id']}/{number}", dialogue=item["dialogue"], answer=answer)
        for item in items
        for number, answer in enumerate(item["choices"])
    ]


def subtract_base(logprobs: Scores) -> Scores:
    """Return the implicit rewards of all trained policies, in nats.

    `logprobs` has the log-probabilities of the base model and of the policies.
    """
    return {
        policy: {id_: logprob - logprobs[BASE][id_] for id_, logprob in found.items()}
        for policy, found in logprobs.items()
        if policy not in (BASE, PROMPTED)
    }


def judge_items(
    items: Sequence[PreferenceItem], model: str, scores: Mapping[str, float]
) -> list[PreferenceVerdict]:
    """Judge items by their answers' scores: right if the first choice has the highest one.

    Where k choices share the highest score and the right one is among them, it is a tie and 1 / k
    of a hit (best of 4 as in RewardBench 2, Malik et al. 2025, arXiv 2506.01937; a pair is a best
    of 2). `scores` are by the ids of `list_answers`. Raises UserError for one that is not finite.
    """
    return [
        PreferenceVerdict(
            **judge_choices(
                item,
                [read_score(scores, f"{item['item_id']}/{n}") for n in range(len(item["choices"]))],
                "corrected",
            ),
            verdict_id=f"{item['set']}/{model}/{item['item_id']}",
            set=item["set"],
            prompt_id=item["prompt_id"],
            model=model,
        )
        for item in items
    ]


def judge_by_floors(items: Sequence[PreferenceItem]) -> dict[str, list[PreferenceVerdict]]:
    """Let judges that read nothing judge: chance, and who goes by the number of characters."""
    return {
        name: judge_items(
            items, name, {row["id"]: judge(row["answer"]) for row in list_answers(items)}
        )
        for name, judge in FLOORS.items()
    }


def report_preferences(
    items: Sequence[PreferenceItem],
    verdicts: Mapping[str, Sequence[PreferenceVerdict]],
    source: Source | None,
    seed: int,
) -> PreferenceReport:
    """Measure judges on a set, beside the floors, in all and by subset.

    All intervals hold with 95 %, by bootstrap over prompts: items of one dialogue are no
    independent ones. `differences` are from "longer wins". `verdicts` are by judge.
    """
    floors = judge_by_floors(items)
    report = PreferenceReport(
        n=len(items),
        n_prompts=len({item["prompt_id"] for item in items}),
        models={name: measure(rows, seed, "prompt_id") for name, rows in verdicts.items()},
        floors={name: measure(rows, seed, "prompt_id") for name, rows in floors.items()},
        differences={
            f"{name}-vs-{LONGER_WINS}": compare(rows, floors[LONGER_WINS], seed, "prompt_id")
            for name, rows in verdicts.items()
        },
    )
    if source:
        report["source"] = source
    return report
