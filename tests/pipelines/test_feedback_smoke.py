"""The pipeline through a real KedroSession, on two tiny models of different size."""

import json
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DatasetError
from sessions import build_viz
from smoke_runs import find_files, find_runs, read_latest, run_smoke

from almost_kedro.errors import UserError

METRICS = "08_reporting/responses_metrics.json/*/responses_metrics.json"
OFF_TOPIC = "tiny-small-Faithful-1shot-off-topic"
SAME_BYTES = ("prompts", "prompt_requests", "responses", "comparisons", "assistants")


# Work folders of this pipeline; others of the run generate, too.
JOBS = "04_feature/generation/[pr][re]*"


@pytest.fixture(scope="module")
def root(aligned: Path) -> Path:
    return aligned


def test_every_pair_of_usable_answers_is_a_comparison_or_in_the_ledger(root: Path) -> None:
    usable = [row for row in read_latest(root, "responses") if row["verdict"] == "ok"]
    rank = {"tiny-large-Faithful-1shot": 0, "tiny-small-Faithful-1shot": 1, OFF_TOPIC: 3}
    pairs = sum(
        rank.get(a["assistant"], 2) < rank.get(b["assistant"], 2)
        for a in usable
        for b in usable
        if a["prompt_id"] == b["prompt_id"]
    )
    comparisons = read_latest(root, "comparisons")
    ledger = read_latest(root, "ledger_comparisons")
    dropped = [row for row in ledger if row["rule"].startswith("matched_")]
    assert comparisons
    assert len(comparisons) + len(dropped) == pairs


def test_every_request_and_response_that_was_dropped_is_in_its_ledger(root: Path) -> None:
    for rows, key, ledger in (
        ("prompt_requests", "request_id", "ledger_prompts"),
        ("responses", "response_id", "ledger_responses"),
    ):
        dropped = {row[key]: row["verdict"] for row in read_latest(root, rows)}
        dropped = {key: rule for key, rule in dropped.items() if rule != "ok"}
        entered = {row["row_id"]: row["rule"] for row in read_latest(root, ledger)}
        assert dropped
        assert dropped == {key: rule for key, rule in entered.items() if rule != "ok"}


def test_all_factors_are_exercised(root: Path) -> None:
    comparisons = read_latest(root, "comparisons")
    ledger = read_latest(root, "ledger_comparisons")
    factors = {factor for row in comparisons for factor in row["factors"]}
    assert factors == {"size", "shots", "demonstrations", "topic"}
    assert any("tiny-large-Faithful-1shot over" in row["detail"] for row in ledger) or any(
        row["factors"] == ["size"] for row in comparisons
    )


def test_off_topic_answers_are_the_sources_at_other_prompts_of_their_split(root: Path) -> None:
    responses = {row["response_id"]: row for row in read_latest(root, "responses")}
    splits = {row["prompt_id"]: row["split"] for row in read_latest(root, "prompt_splits")}
    moved = [row for row in responses.values() if row["assistant"] == OFF_TOPIC]
    assert moved
    assert {row["response_id"] for row in moved} == {
        key for key, row in responses.items() if row["source_id"]
    }
    for row in moved:
        source = responses[row["source_id"]]
        assert source["assistant"] == "tiny-small-Faithful-1shot"
        assert (row["text"], row["verdict"]) == (source["text"], "ok")
        assert row["prompt_id"] != source["prompt_id"]
        assert splits[row["prompt_id"]] == splits[source["prompt_id"]]
    metrics = json.loads(sorted(root.glob(METRICS))[-1].read_text())
    assert metrics["n_responses"] == len(responses)
    assert metrics["n_off_topic"] == len(moved)
    asked = sum(
        cost["requests_generated"] + cost["requests_from_cache"]
        for cost in metrics["worker"].values()
    )
    assert asked == len(responses) - len(moved)


def test_chosen_answers_are_longer_in_half_of_each_edge(root: Path) -> None:
    edges = defaultdict(list)
    for row in read_latest(root, "comparisons"):
        longer = len(row["chosen"]) > len(row["rejected"])
        edges[row["chosen_assistant"], row["rejected_assistant"]].append(longer)
    for longer in edges.values():
        assert sum(longer) * 2 == len(longer)


def test_parents_of_every_row_exist(root: Path) -> None:
    prompts = read_latest(root, "prompts")
    responses = {row["response_id"]: row for row in read_latest(root, "responses")}
    requests = {row["request_id"] for row in read_latest(root, "prompt_requests")}
    texts = {row["prompt_id"]: row["text"] for row in prompts}
    assert {row["request_id"] for row in prompts} <= requests
    answered = {"reward_model", "held_out", "held_out_reward_model"}
    splits = {row["prompt_id"]: row["split"] for row in read_latest(root, "prompt_splits")}
    assert splits.keys() == set(texts)
    asked = {prompt for prompt, split in splits.items() if split in answered}
    assert {row["prompt_id"] for row in responses.values()} == asked
    for row in read_latest(root, "ledger_comparisons"):
        if row["parent_ids"]:
            prompt, *answers = row["parent_ids"]
            assert {responses[answer]["prompt_id"] for answer in answers} == {prompt}
    for row in read_latest(root, "comparisons"):
        assert row["prompt"] == texts[row["prompt_id"]]
        assert row["chosen"] == responses[row["chosen_id"]]["text"]
        assert row["rejected"] == responses[row["rejected_id"]]["text"]


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes(project: Path, root: Path, tmp_path: Path) -> None:
    """On a data root of its own: nothing comes from the request cache."""
    run_smoke(project, tmp_path)
    for name in (*SAME_BYTES, "ledger_prompts", "ledger_responses", "ledger_comparisons"):
        first, second = (find_files(folder, name)[0] for folder in (root, tmp_path))
        assert first.read_bytes() == second.read_bytes(), name


def test_a_job_leaves_its_rows_as_json_lines_and_then_its_metrics(root: Path) -> None:
    jobs = {file.parent for file in root.glob(f"{JOBS}/job.json")}
    assert len(jobs) == 3
    for job in jobs:
        names = {file.name for file in job.iterdir()}
        if job.name.startswith("prompts"):
            rows = {"prompts.jsonl", "requests.jsonl", "ledger.jsonl"}
        else:
            groups = json.loads((job / "job.json").read_text())["task"]["groups"]
            rows = {f"answers_{number}.jsonl" for number in range(len(groups))}
        assert names == rows | {"job.json", "metrics.json", "program.log"}


def test_a_second_run_generates_nothing(project: Path, root: Path) -> None:
    run_smoke(project, root)
    costs = [json.loads(f.read_text()) for f in root.glob(f"{JOBS}/metrics.json")]
    assert len(costs) == 3
    assert [cost["requests_generated"] for cost in costs] == [0, 0, 0]
    assert find_files(root, "responses")[0].read_bytes() == (
        find_files(root, "responses")[-1].read_bytes()
    )


def test_a_changed_filter_generates_nothing(project: Path, root: Path) -> None:
    run_smoke(project, root, {"comparisons": {"length_control": "none", "pairs": "nearest"}})
    costs = [json.loads(f.read_text()) for f in root.glob(f"{JOBS}/metrics.json")]
    assert [cost["requests_generated"] for cost in costs] == [0, 0, 0]
    assert find_files(root, "comparisons")[0].read_bytes() != (
        find_files(root, "comparisons")[-1].read_bytes()
    )


@pytest.mark.slow
def test_old_prompts_can_be_used_again(project: Path, root: Path) -> None:
    """`--from-inputs prompts --load-versions prompts:V` runs nothing before the responses."""
    version = find_files(root, "prompts")[0].parent.name
    before = len(find_files(root, "prompts"))
    run_smoke(
        project,
        root,
        {"response_generation": {"max_new_tokens": 128}},
        from_inputs=["prompts"],
        load_versions={"prompts": version},
    )
    assert len(find_files(root, "prompts")) == before
    ids = {row["prompt_id"] for row in read_latest(root, "responses")}
    first = find_files(root, "prompts")[0].read_text().splitlines()
    assert ids < {json.loads(line)["prompt_id"] for line in first}
    run = find_runs(root)[0]
    assert run.data.tags["loaded.prompts"] == version
    assert "saved.responses" in run.data.tags


@pytest.mark.slow
def test_mlflow_has_the_run_and_a_child_for_each_program(
    project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    run_smoke(project, tmp_path)
    (run,) = find_runs(tmp_path)
    version = find_files(tmp_path, "comparisons")[0].parent.name
    assert run.info.status == "FINISHED"
    assert run.data.tags["saved.comparisons"] == version
    assert run.data.tags["kedro.env"] == "smoke"
    assert run.data.tags["kedro.session_id"]
    assert run.data.tags["git.commit"]
    assert run.data.params["comparisons.length_control"] == "matched"
    n = len(read_latest(tmp_path, "comparisons"))
    assert run.data.metrics["comparisons.n_comparisons"] == n
    children = find_runs(tmp_path, run.info.run_id)
    assert {child.data.tags["mlflow.runName"] for child in children} == {
        "prompts (tiny-large)",
        "responses (tiny-large)",
        "responses (tiny-small)",
    }
    for child in children:
        assert child.info.status == "FINISHED"
        assert child.data.metrics["tokens_generated"] > 0
        assert child.data.metrics["peak_memory_mb"] > 0


def test_a_failed_run_is_marked_and_leaves_no_half_version(
    project: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    options = {"prompt_generation": {"max_requests_per_prompt": 3, "overlap_threshold": 0.01}}
    with pytest.raises(
        UserError, match=r"accepted \d of 20 prompts in 64 requests.*rule_6_overlap"
    ):
        run_smoke(project, tmp_path, options)
    (run,) = find_runs(tmp_path)
    assert run.info.status == "FAILED"
    assert find_runs(tmp_path, run.info.run_id)[0].info.status == "FAILED"
    # The benchmarks are read before.
    made = {path.name for path in tmp_path.glob("03_primary/*")}
    assert not {name for name in made if "prompt" in name or "response" in name}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"response_generation": {"max_new_token": 9}},
            "option response_generation.max_new_token:",
        ),
        ({"rulez": "original"}, "option rulez: there is no such option"),
        ({"prompt_generation": {"model": "tiny"}}, "unknown model 'tiny'.*tiny-small, tiny-large"),
        ({"comparisons": {"rubric": ["a", "b"]}}, "unknown assistant 'a'"),
        ({"comparisons": {"rubric": ["tiny-small-HHH-1shot"]}}, "found 1 level"),
        ({"prompt_generation": {"shots": 101}}, "found 100 seed prompts.*shots = 101"),
        ({"response_generation": {"max_new_tokens": 16000}}, "1 shots and the prompt.*context of"),
        pytest.param(
            {"generation": {"engine": "vllm"}},
            "'vllm' is not installed here",
            marks=pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed"),
        ),
        ({"rules": "original"}, "wordpiece: rule 6 of `rules: original` compares word pieces"),
    ],
)
def test_bad_options_are_one_clear_line_before_anything_is_generated(
    params: dict[str, Any],
    message: str,
    project: Path,
    tiny_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run_smoke(project, tmp_path, params)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("04_feature/generation/*"))


def test_old_prompts_meet_the_same_checks_before_anything_is_generated(
    project: Path, root: Path
) -> None:
    """`--from-inputs prompts` skips the node that checks first."""
    before = len(list(root.glob("04_feature/generation/*")))
    for params, message in (
        ({"comparisons": {"rubric": ["a", "b"]}}, "unknown assistant 'a'"),
        ({"response_generation": {"max_new_tokens": 16300}}, "has a context of 16384"),
    ):
        with pytest.raises(UserError, match=message):
            run_smoke(project, root, params, from_inputs=["prompts"])
    assert len(list(root.glob("04_feature/generation/*"))) == before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("seed_prompts.txt", "", "seed_prompts: found 0 lines"),
        ("seed_prompts.txt", b"caf\xe9", "byte 3: not UTF-8; save it as UTF-8"),
        ("seed_prompts.txt", None, "seed_prompts.txt: no such file; put it there"),
        ("Faithful_prompt.txt", None, "'Faithful' need the file Faithful_prompt.txt"),
        ("Faithful_prompt.txt", "only a header", "found no demonstration"),
        # Nobody is shown these: they would be compared with the benchmarks, after the prompts.
        ("Candid_prompt.txt", "", "demonstrations 'Candid': found no demonstration"),
        ("Candid_prompt.txt", b"\xff\xfea\0", "Candid_prompt.txt, byte 0: not UTF-8"),
        ("HHH_prompt.txt", "header\n\n-----\n\nHuman: a\n\nAssistant: b", "found 1.*for 2 shots"),
    ],
)
def test_bad_assets_are_one_clear_line_before_anything_is_generated(
    file: str,
    content: str | bytes | None,
    message: str,
    project: Path,
    tiny_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    for path in (project / "assets").glob("*.txt"):
        (assets / path.name).write_bytes(path.read_bytes())
    (assets / file).unlink()
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (assets / file).write_bytes(data)
    with pytest.raises((UserError, DatasetError), match=message) as caught:
        run_smoke(project, tmp_path / "data", {"assets_root": str(assets)})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("data/04_feature/generation/*"))


@pytest.mark.slow
def test_windows_files_give_the_same_rows(
    project: Path, root: Path, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    for path in (project / "assets").glob("*.txt"):
        text = path.read_bytes().rstrip(b"\n").replace(b"\n", b"\r\n")
        (assets / path.name).write_bytes(b"\xef\xbb\xbf" + text)
    run_smoke(project, tmp_path / "data", {"assets_root": str(assets)})
    for name in SAME_BYTES:
        same = find_files(tmp_path / "data", name)[0].read_bytes()
        assert same == find_files(root, name)[0].read_bytes(), name


def test_kedro_viz_builds_with_lineage_and_previews(
    project: Path, root: Path, tmp_path: Path
) -> None:
    done = build_viz(project, root, tmp_path)
    assert "circular dependency" not in done.stderr
    nodes = [json.loads(f.read_text()) for f in (tmp_path / "build/api/nodes").iterdir()]
    previews = {
        Path(node["filepath"]).name: node["preview_type"] for node in nodes if node.get("preview")
    }
    rows = ("prompts", "prompt_requests", "assistants", "responses", "comparisons")
    ledgers = ("ledger_prompts", "ledger_responses", "ledger_comparisons")
    for name in (*rows, *ledgers):
        assert previews[find_files(root, name)[0].name] == "TablePreview"
    for name in ("prompts_waterfall", "ledger_waterfall", "response_lengths", "comparisons"):
        assert previews[f"{name}.json"] == "PlotlyPreview"
    assert previews["seed_prompts.txt"] == "TablePreview"
