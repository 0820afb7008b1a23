"""Bad options give one line that names the option, what was found and what to do."""

import copy
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader
from option_values import PARAMETERS

from almost_kedro.errors import UserError
from almost_kedro.options.all import check_options
from almost_kedro.options.reward_model import RewardModelOptions
from almost_kedro.settings import CONFIG_LOADER_ARGS

REMOVED = object()


def change(path: str, value: Any) -> dict[str, Any]:
    """The parameters with one value set or removed; a number in the path indexes a list."""
    parameters = copy.deepcopy(PARAMETERS)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    block: Any = parameters
    for part in parents:
        block = block[part]
    if value is REMOVED:
        del block[last]
    else:
        block[last] = value
    return parameters


def explain(parameters: dict[str, Any]) -> str:
    with pytest.raises(UserError) as error:
        check_options(parameters)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_good_options_pass_with_the_published_defaults() -> None:
    options = check_options(PARAMETERS)
    assert options.rules == "corrected"
    prompts, responses = options.prompt_generation, options.response_generation
    assert (prompts.temperature, prompts.top_p, prompts.max_new_tokens) == (1.2, 0.9, 64)
    assert (prompts.shots, prompts.overlap_threshold) == (10, 0.5)
    assert (responses.temperature, responses.top_p) == (1.0, 0.9)
    comparisons = options.comparisons
    assert (comparisons.pairs, comparisons.length_control) == ("all", "matched")


def test_a_training_has_none_of_the_options_that_are_about_several_or_about_its_rows() -> None:
    plain = check_options(PARAMETERS).reward_model
    block = {**PARAMETERS["reward_model"], "mismatched": {"per_pair": 2}, "ensemble": 3}
    given = check_options({**PARAMETERS, "reward_model": block}).reward_model
    assert given.mismatched
    assert (given.mismatched.per_pair, given.mismatched.weight) == (2, 0.5)
    assert type(given.training) is RewardModelOptions
    assert given.training == plain.training
    assert given.training.learning_rate == 1e-5
    wrong = {**PARAMETERS["reward_model"], "mismatched": {"weight": 0}}
    message = explain({**PARAMETERS, "reward_model": wrong})
    assert message.startswith("option reward_model.mismatched.weight: Input should be greater than")


@pytest.mark.filterwarnings("ignore:register_new_resolver")
@pytest.mark.parametrize("env", ["base", "smoke", "paper", "single_gpu", "study"])
def test_options_of_every_environment_pass(project: Path, env: str) -> None:
    loader = OmegaConfigLoader(str(project / "conf"), env=env, **CONFIG_LOADER_ARGS)
    check_options(loader["parameters"])


@pytest.mark.parametrize(
    "path",
    [
        "sed",
        "generation.batchsize",
        "prompt_generation.n_promts",
        "response_generation.temprature",
        "response_generation.assistants.1.shot",
        "comparisons.ruberic",
        "models.base.revison",
        "models.local.id",
        "models.small.width",
        "models.packed.sha",
        "hub",
        "prompt_generation.folder",
    ],
)
def test_misspelt_option_is_named(path: str) -> None:
    message = explain(change(path, 1))
    assert message == f"option {path}: there is no such option; check the spelling"


@pytest.mark.parametrize(
    "path",
    [
        "data_root",
        "assets_root",
        "models",
        "generation",
        "prompt_generation",
        "response_generation",
        "comparisons",
        "prompt_generation.model",
        "prompt_generation.n_prompts",
        "response_generation.max_new_tokens",
        "response_generation.assistants.0.shots",
        "comparisons.rubric",
        "models.base.id",
        "models.small.layers",
    ],
)
def test_missing_option_is_named(path: str) -> None:
    message = explain(change(path, REMOVED))
    assert message.startswith(f"option {path}: missing; set it in conf/<env>/")


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("rules", "corected", "'original' or 'corrected'"),
        ("seed", "one", "valid integer"),
        ("reward_model.ensemble", 0, "whole number above 0, or names of contrasts"),
        ("reward_model.ensemble", 1.5, "whole number above 0, or names of contrasts"),
        ("reward_model.ensemble", None, "whole number above 0, or names of contrasts"),
        ("reward_model.ensemble", "topic", "needs two or more"),
        ("reward_model.ensemble", ["a", "b", "a"], "named twice"),
        ("reward_model.ensemble_penalty", -0.5, "greater than or equal to 0"),
        ("generation.engine", "vlm", "'embedded', 'vllm' or 'openai'"),
        ("generation.tensor_parallel", 0, "greater than 0"),
        ("dpo.beta", 0, "greater than 0"),
        ("dpo.beta", -0.1, "greater than 0"),
        ("dpo.watch.max_length_ratio", 1, "greater than 1"),
        ("generation.dtype", "fp16", "'auto', 'bfloat16' or 'float32'"),
        ("generation", None, "valid dictionary"),
        ("prompt_generation.n_prompts", 0, "greater than 0"),
        ("prompt_generation.n_prompts", "many", "valid integer"),
        ("prompt_generation.shots", 0, "greater than 0"),
        ("prompt_generation.top_p", 0, "greater than 0"),
        ("prompt_generation.top_p", 1.1, "less than or equal to 1"),
        ("prompt_generation.temperature", -0.1, "greater than or equal to 0"),
        ("prompt_generation.overlap_threshold", 0, "greater than 0"),
        ("response_generation.assistants", [], "at least 1 item"),
        ("response_generation.assistants.1.shots", -1, "greater than or equal to 0"),
        ("response_generation.assistants.0.max_new_tokens", 0, "greater than 0"),
        ("comparisons.pairs", "near", "'nearest' or 'all'"),
        ("comparisons.length_control", "some", "'none', 'heuristic' or 'matched'"),
        ("comparisons.length_tolerance", 1.5, "less than or equal to 1"),
        ("comparisons.rubric", "base-HHH-3shot", "valid list"),
        ("models.small.layers", 0, "greater than 0"),
        ("models.packed.trust_remote_code", True, "False"),
        ("models.base.source", "hubb", "'hub', 'folder', 'wheel', 'server', 'tiny'"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(path: str, value: Any, allowed: str) -> None:
    message = explain(change(path, value))
    assert message.startswith(f"option {path.removesuffix('.source')}: ")
    assert allowed in message
    assert "; found " in message


def test_an_ensemble_is_a_number_or_names_as_a_list_or_on_the_command_line() -> None:
    for given, n, contrasts in [
        (3, 3, []),
        (["size", "topic"], 2, ["size", "topic"]),
        ("size+topic", 2, ["size", "topic"]),
    ]:
        found = check_options(change("reward_model.ensemble", given)).reward_model
        assert (found.n_members, found.contrasts) == (n, contrasts)


def test_members_of_a_contrast_each_have_no_other_seeds() -> None:
    parameters = change("reward_model.ensemble", "size+topic")
    message = explain({**parameters, "reward_model_seeds": 2})
    assert message.startswith("option reward_model_seeds: 2 trainings on the same rows are wanted")


def test_wrong_level_of_the_rubric_is_named_as_it_stands_in_the_file() -> None:
    message = explain(change("comparisons.rubric.0", 7))
    assert message.startswith("option comparisons.rubric.0: ")
    assert "list" in message


@pytest.mark.parametrize("name", ["tiny", "hub"])
def test_model_that_is_called_like_a_source_is_named(name: str) -> None:
    wrong = {"source": "tiny", "layers": 0, "hidden_size": 32}
    assert explain(change(f"models.{name}", wrong)).startswith(f"option models.{name}.layers: ")


def test_unknown_model_of_the_prompts_is_named_with_those_that_exist() -> None:
    assert explain(change("prompt_generation.model", "bass")) == (
        "option prompt_generation.model: unknown model 'bass'; "
        "models.yml has base, local, small, packed"
    )


def test_unknown_model_of_an_assistant_is_named_with_those_that_exist() -> None:
    assert explain(change("response_generation.assistants.1.model", "bass")) == (
        "option response_generation.assistants.1.model: unknown model 'bass'; "
        "models.yml has base, local, small, packed"
    )


def test_an_assistant_may_show_no_demonstrations() -> None:
    options = check_options(change("response_generation.assistants.0.shots", 0))
    assert options.response_generation.assistants[0].shots == 0


def test_an_off_topic_assistant_has_no_token_limit_of_its_own() -> None:
    one = {"model": "base", "demonstrations": "HHH", "shots": 3, "off_topic": True}
    options = check_options(change("response_generation.assistants.1", one))
    assert [each.off_topic for each in options.response_generation.assistants] == [False, True]
    message = explain(change("response_generation.assistants.1", {**one, "max_new_tokens": 9}))
    assert message.startswith(
        "option response_generation.assistants.1: an off_topic assistant generates nothing; "
        "leave max_new_tokens out; found "
    )


def test_the_as_is_filter_is_off_unless_it_is_asked_for() -> None:
    assert check_options(PARAMETERS).as_is_filter.enabled is False
    assert check_options(change("as_is_filter", {"pairs": "pairs.jsonl"})).as_is_filter.pairs


@pytest.mark.parametrize(
    ("sources", "given"),
    [({}, "none is given"), ({"pairs": "a.jsonl", "hub_dataset": "org/a"}, "both are given")],
)
def test_the_as_is_filter_needs_one_source_of_pairs(sources: dict[str, str], given: str) -> None:
    message = explain(change("as_is_filter", {"enabled": True, **sources}))
    assert message.startswith(
        f"option as_is_filter: give one of pairs and hub_dataset; {given}; found "
    )


def test_options_cannot_be_changed() -> None:
    options: Any = check_options(PARAMETERS)
    with pytest.raises(ValueError, match="frozen"):
        options.seed = 1


SERVERS: list[dict[str, Any]] = [
    {"url": "http://one:8000/v1", "model": "base"},
    {"url": "https://two/v1/", "model": "small", "key": "default"},
]


def with_servers(servers: list[dict[str, Any]], engine: str = "openai") -> dict[str, Any]:
    return change("generation", {"engine": engine, "servers": servers})


def test_servers_of_every_model_are_accepted() -> None:
    options = check_options(with_servers(SERVERS))
    assert [server.url for server in options.generation.servers] == [
        "http://one:8000/v1",
        "https://two/v1",
    ]


def test_a_model_without_a_server_is_named_with_the_remedy() -> None:
    message = explain(with_servers(SERVERS[:1]))
    assert message == (
        "option generation.servers: none has the model 'small' of "
        "response_generation.assistants.1.model; "
        "add {url: http://host:8000/v1, model: small}"
    )


def test_a_server_of_an_unknown_model_is_refused() -> None:
    message = explain(with_servers([*SERVERS, {"url": "http://three/v1", "model": "large"}]))
    assert "generation.servers.2.model: unknown model 'large'" in message


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("one:8000/v1", "give a URL such as http://host:8000/v1"),
        ("ftp://one/v1", "give a URL such as"),
        ("http://user:secret@one/v1", "without user, password or query"),
        ("http://one/v1?api_key=secret", "without user, password or query"),
    ],
)
def test_a_url_that_is_none_or_holds_a_secret_is_refused(url: str, said: str) -> None:
    message = explain(with_servers([{**SERVERS[0], "url": url}, SERVERS[1]]))
    assert message.startswith("option generation.servers.0.url: ")
    assert said in message
    assert "secret" not in message


def test_a_model_that_only_servers_have_needs_the_openai_engine() -> None:
    parameters = with_servers(SERVERS)
    parameters["models"]["base"] = {"source": "server", "id": "org/base"}
    assert "reward_model.model: 'base' is only on servers" in explain(parameters)
    parameters["reward_model"]["model"] = parameters["sft"]["model"] = "small"
    check_options(parameters)
    parameters["generation"]["engine"] = "vllm"
    assert "'base' is only on servers" in explain(parameters)


def with_judge(name: str, *servers: dict[str, Any]) -> dict[str, Any]:
    parameters = with_servers(list(servers), engine="embedded")
    parameters["models"]["critic"] = {"source": "server", "id": "org/critic", "chat": True}
    parameters["evaluation"] = {"judge": name}
    return parameters


def test_a_judge_on_servers_leaves_the_engine_as_it_is() -> None:
    served = {"url": "http://one/v1", "model": "critic"}
    options = check_options(with_judge("critic", served))
    assert options.generation.engine == "embedded"
    assert options.generation.on_servers().engine == "openai"
    check_options(with_judge("held_out_reward_model"))


def test_any_model_may_judge_and_its_source_says_how() -> None:
    served = {"url": "http://one/v1", "model": "critic"}
    kinds = {
        "held_out_reward_model": "rewards",
        "critic": "reviews",
        "base": "letters",
    }
    assert {n: check_options(with_judge(n, served)).judge_kind for n in kinds} == kinds


def test_a_judge_that_nobody_is_or_serves_is_named() -> None:
    assert "option evaluation.judge: unknown model 'nobody'" in explain(with_judge("nobody"))
    assert explain(with_judge("critic")) == (
        "option generation.servers: none has the model 'critic' of evaluation.judge; "
        "add {url: http://host:8000/v1, model: critic}"
    )


@pytest.mark.parametrize("block", ["rl", "dpo"])
def test_adapters_have_no_dropout_where_a_policy_is_compared_with_what_it_was(block: str) -> None:
    with pytest.raises(UserError, match=rf"{block}.*lora.dropout is 0.1; set it to 0"):
        check_options(change(f"{block}.lora", {"dropout": 0.1}))
    assert check_options(change("sft.lora", {"dropout": 0.1})).sft.rank == 16


def test_without_adapters_a_training_is_described_as_before() -> None:
    assert "lora" not in check_options(PARAMETERS).sft.model_dump()
    with_some = check_options(change("sft.lora", {"rank": 4})).sft.model_dump()
    assert with_some["lora"] == {
        "rank": 4,
        "alpha": 32,
        "dropout": 0,
        "targets": "all-linear",
    }


def test_a_step_of_rl_holds_whole_groups_of_answers() -> None:
    message = explain(change("rl.generations", 3))
    assert "rl.generations: a step has batch_size x accumulation x ranks = 8 answers" in message


def test_evaluation_uses_our_own_sets_unless_told_otherwise() -> None:
    evaluation = check_options(PARAMETERS).evaluation
    assert (evaluation.hhh, evaluation.truthfulqa, evaluation.questions) == ("own", "own", "own")
    assert (evaluation.scoring, evaluation.mc1_form) == ("corrected", "true")
    assert evaluation.mc1_preset == "own"
    assert (evaluation.temperature, evaluation.max_new_tokens) == (0.7, 1024)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("questions", "hub", "the hub has no open questions; give own, or a file's path"),
        ("scoring", "lenient", "Input should be 'original' or 'corrected'"),
        ("mc1_form", False, "Input should be 'true' or 'likelihood'"),
        ("limit", 0, "Input should be greater than 0"),
        ("hhh", "", "String should have at least 1 character"),
    ],
)
def test_bad_evaluation_options_are_named(option: str, value: Any, message: str) -> None:
    found = explain(change("evaluation", {option: value}))
    assert found == f"option evaluation.{option}: {message}; found {value!r}"


def test_a_bare_true_is_the_form_of_that_name() -> None:
    options = check_options(change("evaluation", {"mc1_form": True}))
    assert options.evaluation.mc1_form == "true"
