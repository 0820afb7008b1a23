"""Which charts the report shows, and what to read off each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from almost_kedro.pages.report.figures import Figure, prepare_figure

TRAINING = {
    "loss": "loss",
    "accuracy": "accuracy",
    "margin": "margin",
    "mean_token_accuracy": "token accuracy",
}
RL = {
    "reward": "reward",
    "kl": "KL (nats)",
    "completions/mean_length": "tokens an answer",
}


class Chart(NamedTuple):
    """A chart of the report; `panels` as `prepare_figure` has them."""

    plot: str
    caption: str
    panels: Mapping[str, str] | None = None


CHARTS = (
    Chart(
        "evaluation_plot",
        "Accuracies and win rates with 95 % intervals. A model shows something where its interval "
        "lies beyond the diamonds, which are judges that read nothing, or beyond the dashed line.",
    ),
    Chart(
        "reward_model_accuracy_plot",
        "Accuracy on held-out prompts. An interval that reaches the dashed line (one half) shows "
        "nothing; the diamonds read nothing.",
    ),
    Chart(
        "reward_model_reliability_plot",
        "Reliability. Points below the diagonal: the reward model is surer than it is right.",
    ),
    Chart(
        "reward_model_training_plot",
        "Training of the reward model. A loss near 0 with a poor accuracy above means that it "
        "learned its pairs by heart.",
        TRAINING,
    ),
    Chart("prompts_waterfall_plot", "Prompts: what each rule dropped, and what was left."),
    Chart(
        "ledger_waterfall_plot",
        "Answers and pairs: what each rule dropped, and what was left.",
    ),
    Chart(
        "comparisons_plot",
        "Comparisons by edge. Chosen answers should be longer in half of them, or length gives "
        "them away.",
    ),
    Chart(
        "response_lengths_plot",
        "Length of usable answers by assistant; whiskers reach the shortest and the longest.",
    ),
    Chart(
        "best_of_n_plot",
        "Best of n answers. Where the held-out reward no longer rises with the reward, more "
        "picking is over-optimisation.",
    ),
    Chart("sft_policy_training_plot", "Training of the SFT policy.", TRAINING),
    Chart(
        "rl_policy_training_plot",
        "Reinforcement learning, step by step. Reward should rise; KL says how far the policy went "
        "from the SFT policy; a length that runs away is a warning.",
        RL,
    ),
    Chart(
        "rl_watch_plot",
        "The RL policy on prompts that it isn't trained on. Reward that rises without the held-out "
        "reward is over-optimisation.",
        {
            "held_out_reward": "held-out reward",
            "reward": "reward",
            "kl": "KL (nats)",
            "length": "tokens an answer",
        },
    ),
    Chart(
        "dpo_policy_training_plot",
        "DPO, step by step. The margin is by how much the implicit reward of a chosen answer "
        "exceeds that of the rejected one; what is more probable than at first need not be either.",
        {
            "loss": "loss",
            "rewards/accuracies": "accuracy",
            "rewards/margins": "margin",
            "rewards/chosen": "reward, chosen",
            "rewards/rejected": "reward, rejected",
        },
    ),
    Chart(
        "dpo_watch_plot",
        "The DPO policy on prompts that it isn't trained on. A margin that rises without the "
        "held-out reward is over-optimisation.",
        {
            "held_out_reward": "held-out reward",
            "reward": "margin in training",
            "length": "tokens an answer",
        },
    ),
)


def prepare_charts(plots: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    """Make all charts ready for the page, by dataset name; what shows nothing is left out."""
    figures = {
        chart.plot: prepare_figure(chart.plot, chart.caption, plots[chart.plot], chart.panels)
        for chart in CHARTS
        if chart.plot in plots
    }
    return {name: figure for name, figure in figures.items() if figure}
