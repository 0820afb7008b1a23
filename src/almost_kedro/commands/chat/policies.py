"""Who answers in a chat, and how: policies by name, their sampling, the reward models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kedro.io import DataCatalog, DatasetError

from almost_kedro.commands.checkpoints import POLICIES as TRAINED
from almost_kedro.commands.checkpoints import REWARD_MODELS, load_policy, load_reward_model
from almost_kedro.contract import Sampling
from almost_kedro.errors import UserError
from almost_kedro.evaluation.stages import APART, BASE, NAMES, PROMPTED, SFT, STAGES
from almost_kedro.feedback.planning import find_best_assistant
from almost_kedro.feedback.responses import response_sampling
from almost_kedro.jobs.models import find_trainee
from almost_kedro.jobs.policies import Policy, checkpoint_policy, find_prompted
from almost_kedro.jobs.reward_models import make_score_job
from almost_kedro.models.checkpoints import check_same_base
from almost_kedro.options.all import Options
from almost_kedro.options.models import ServerModel
from almost_kedro.processes.workplace import Workplace
from almost_kedro.training.job import ScoreJob

# Side by side.
MOST = 4


class Draw(NamedTuple):
    """How answers are drawn; None is what the options say."""

    temperature: float | None = None
    top_p: float | None = None
    max_new_tokens: int | None = None
    seed: int | None = None


def check_names(names: Sequence[str]) -> None:
    """Refuse names of policies that are too many, unknown, or there twice."""
    if len(names) > MOST:
        raise UserError(f"{len(names)} policies: at most {MOST} answer side by side; name fewer")
    for number, name in enumerate(names):
        if name not in NAMES:
            raise UserError(f"policy {name!r}: unknown; there are {', '.join(NAMES)}")
        if name in names[:number]:
            raise UserError(f"policy {name!r}: named twice; name each policy once")


def name_last_trained(catalog: DataCatalog) -> str:
    """Return the last stage whose policy is there, the chain's first; SFT if none was trained."""
    there = [stage.name for stage in (*APART, *STAGES) if catalog.exists(stage.policy)]
    return there[-1] if there else SFT.name


def find_policies(
    names: Sequence[str], catalog: DataCatalog, options: Options, workplace: Workplace
) -> list[Policy]:
    """Find policies by name.

    Raises UserError if a policy was never trained, or is only on servers, or if two that are asked
    side by side were not trained from one another.
    """
    base_bos = options.models.root[options.sft.model].bos
    found: dict[str, Policy] = {}
    if BASE in names:
        found[BASE] = Policy(BASE, find_trainee(options.sft.model, options, workplace))
    if PROMPTED in names:
        found[PROMPTED] = find_assistant(catalog, options, workplace)
    for stage in (*STAGES, *APART):
        if stage.name in names:
            checkpoint = load_policy(catalog, stage.name)
            if stage.base in found:
                check_same_base(checkpoint, found[stage.base].model, stage.how_to_train)
            found[stage.name] = checkpoint_policy(stage.name, checkpoint, base_bos)
    return [found[name] for name in names]


def find_assistant(catalog: DataCatalog, options: Options, workplace: Workplace) -> Policy:
    """Find the best prompted assistant; raise UserError if only servers have its model."""
    if not catalog.exists("assistants"):
        raise UserError(
            f"policy {PROMPTED!r}: there are no assistants yet; run `kedro run --pipeline "
            "synthetic_feedback` first, with the same --env"
        )
    assistants = catalog.load("assistants")
    model = find_best_assistant(assistants, options.comparisons)["model"]
    if isinstance(options.models.root.get(model), ServerModel):
        raise UserError(
            f"policy {PROMPTED!r}: its model {model!r} is only on servers, and a chat runs models "
            f"on this machine; name other policies: {', '.join((BASE, *TRAINED))}"
        )
    return find_prompted(assistants, options, workplace)


def find_judges(
    catalog: DataCatalog, options: Options, workplace: Workplace, wanted: bool
) -> list[ScoreJob]:
    """Describe scoring by both reward models; nobody if one is missing or damaged.

    If rewards are `wanted`, raises UserError or DatasetError instead.
    """
    try:
        judges = [load_reward_model(catalog, name) for name in REWARD_MODELS]
    except (UserError, DatasetError):
        if wanted:
            raise
        return []
    return [make_score_job(judge, options, workplace) for judge in judges]


def choose_sampling(draw: Draw, options: Options) -> Sampling:
    """Sample as the test of policies does, but for what `draw` says."""
    given = {name: value for name, value in draw._asdict().items() if value is not None}
    seed = given.pop("seed", options.seed)
    test = options.policy_test.model_copy(update=given)
    return response_sampling(test, test.max_new_tokens, options.rules, seed)
