"""Every environment loads, is valid and resolves its catalog, without a GPU and without a model."""

import shutil
from pathlib import Path

import pytest
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Pipeline

from almost_kedro.feedback.contrasts import check_contrasts
from almost_kedro.feedback.planning import check_rubric, plan_assistants
from almost_kedro.options.all import Options, check_options

ENVIRONMENTS = ["base", "paper", "single_gpu", "study", "contrasts", "smoke"]
APART = {"rule_audit", "contrasts", "dpo"}
PIPELINES = {"synthetic_feedback", "reward_model", "rmsp_sft", "rl", "evaluation"}
VERSIONED = ("prompts", "responses", "comparisons", "ledger_prompts", "ledger_comparisons")


def load(project: Path, env: str) -> KedroContext:
    bootstrap_project(project)
    with KedroSession.create(project, env=env) as session:
        return session.load_context()


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_options_are_valid_and_every_dataset_resolves(env: str, project: Path) -> None:
    context = load(project, env)
    options = check_options(context.config_loader["parameters"])
    assert isinstance(options, Options)
    catalog = context.catalog
    for name in sorted(sum(pipelines.values(), start=Pipeline([])).datasets()):
        assert catalog.get(name) is not None, name
        if name != "parameters" and not name.startswith("params:"):
            assert "MemoryDataset" not in type(catalog.get(name)).__name__, name
    for name in VERSIONED:
        assert catalog.get(name)._version is not None


def test_each_environment_has_a_data_root_of_its_own(project: Path) -> None:
    roots = {env: load(project, env).params["data_root"] for env in ENVIRONMENTS}
    assert len(set(roots.values())) == len(ENVIRONMENTS)


def test_a_key_of_ones_own_joins_the_one_that_is_there(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(project / "conf", conf, ignore=shutil.ignore_patterns("local"))
    (conf / "local").mkdir()
    (conf / "local/credentials.yml").write_text(
        "servers:\n  judge: ${oc.env:JUDGE_API_KEY, null}\n"
    )
    monkeypatch.setenv("ALMOST_KEDRO_API_KEY", "one")
    monkeypatch.setenv("JUDGE_API_KEY", "two")
    bootstrap_project(project)
    with KedroSession.create(project, conf_source=str(conf)) as session:
        keys = session.load_context().catalog.load("workplace").keys
    assert {name: key.get_secret_value() for name, key in keys.items()} == {
        "default": "one",
        "judge": "two",
    }


def test_the_five_pipelines_are_the_default_and_others_are_apart(project: Path) -> None:
    bootstrap_project(project)
    assert set(pipelines) == PIPELINES | APART | {"__default__"}
    names = {node.name for name in PIPELINES for node in pipelines[name].nodes}
    assert {node.name for node in pipelines["__default__"].nodes} == names
    assert not names & {"audit_rules", "try_contrasts", "train_dpo_policy"}


def test_the_paper_environment_is_the_published_set_up(project: Path) -> None:
    options = check_options(load(project, "paper").config_loader["parameters"])
    assert options.rules == "original"
    assert options.generation.engine == "vllm"
    assert (options.prompt_generation.temperature, options.prompt_generation.top_p) == (1.2, 0.9)
    assert options.prompt_generation.max_new_tokens == 64
    assert options.response_generation.temperature == 1.0
    budgets = [
        (a.model, a.demonstrations, a.shots, a.max_new_tokens)
        for a in options.response_generation.assistants
    ]
    assert budgets == [
        ("llama-2-13b", "Faithful", 3, 768),
        ("llama-2-7b", "Faithful", 3, 768),
        ("llama-2-7b", "HHH", 3, None),
        ("llama-2-7b", "HHH", 1, None),
    ]
    assert not any(a.off_topic for a in options.response_generation.assistants)
    assert options.response_generation.max_new_tokens == 384
    assert options.comparisons.rubric == [
        "llama-2-13b-Faithful-3shot",
        "llama-2-7b-Faithful-3shot",
        "llama-2-7b-HHH-3shot",
        "llama-2-7b-HHH-1shot",
    ]
    assert (options.comparisons.pairs, options.comparisons.length_control) == (
        "nearest",
        "heuristic",
    )


DEMONSTRATIONS_SHOTS = [
    "smollm2-135m-Faithful-3shot",
    "smollm2-135m-HHH-3shot",
    "smollm2-135m-bare",
]


@pytest.mark.parametrize("env", ["base", "study"])
def test_rubrics_are_those_of_the_findings(env: str, project: Path) -> None:
    options = check_options(load(project, env).config_loader["parameters"])
    assert options.comparisons.rubric == DEMONSTRATIONS_SHOTS
    assert options.contrasts == {}
    assert options.comparisons.length_control == "matched"


def test_the_study_is_the_default_but_for_its_size(project: Path) -> None:
    base, study = (load(project, env).config_loader["parameters"] for env in ("base", "study"))
    own = {
        "prompt_generation": {"n_prompts", "round_size"},
        "rl": {"steps", "learning_rate", "save_every", "watch"},
        "evaluation": {"question_limit"},
    }
    for name in base.keys() - {"reward_model_seeds", "data_root"}:
        if name not in own:
            assert study[name] == base[name], name
            continue
        fields = study[name].keys() | base[name].keys()
        changed = {field for field in fields if study[name].get(field) != base[name].get(field)}
        assert changed <= own[name]


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_rubric_and_contrasts_name_assistants(env: str, project: Path) -> None:
    options = check_options(load(project, env).config_loader["parameters"])
    demonstrations = {
        path.name.removesuffix("_prompt.txt"): path.read_text()
        for path in (project / "assets").glob("*_prompt.txt")
    }
    assistants = plan_assistants(demonstrations, options.response_generation, options.rules)
    check_rubric(assistants, options.comparisons)
    if options.contrasts:
        check_contrasts(options.contrasts, assistants)


def test_one_parameter_can_be_changed_without_losing_its_siblings(project: Path) -> None:
    bootstrap_project(project)
    runtime = {"prompt_generation": {"n_prompts": 7}}
    with KedroSession.create(project, env="smoke", runtime_params=runtime) as session:
        options = check_options(session.load_context().config_loader["parameters"])
    assert options.prompt_generation.n_prompts == 7
    assert options.prompt_generation.shots == 3


def test_every_item_is_used_where_figures_are_meant_to_last(project: Path) -> None:
    for env in ("paper", "study"):
        evaluation = check_options(load(project, env).config_loader["parameters"]).evaluation
        assert (evaluation.limit, evaluation.question_limit) == (None, None)
    own = check_options(load(project, "base").config_loader["parameters"]).evaluation
    assert {own.hhh, own.truthfulqa, own.questions} == {"own"}


def test_one_gpu_trains_nothing_but_adapters_beside_small_reward_models(project: Path) -> None:
    options = check_options(load(project, "single_gpu").config_loader["parameters"])
    assert (options.launch.config, options.launch.processes) == ("gpu", 1)
    blocks = (options.reward_model, options.sft, options.rl, options.dpo)
    assert {block.rank for block in blocks} == {16}
    assert all(block.gradient_checkpointing for block in blocks)
    assert options.reward_model.model != options.sft.model


def test_the_paper_environment_evaluates_as_published(project: Path) -> None:
    evaluation = check_options(load(project, "paper").config_loader["parameters"]).evaluation
    assert (evaluation.hhh, evaluation.truthfulqa) == ("hub", "hub")
    assert (evaluation.scoring, evaluation.mc1_form) == ("original", "true")
    assert (evaluation.temperature, evaluation.max_new_tokens) == (0.7, 1024)
