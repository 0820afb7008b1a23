"""What a data root of `4692f1d` has kept: taken where results are the same, else made anew."""

import json
import tarfile
from pathlib import Path

import pytest
from families import make_judge, save
from node_jobs import VERSIONS

from almost_kedro.contract import Likelihood, tell_version
from almost_kedro.errors import UserError
from almost_kedro.generation import worker
from almost_kedro.generation.cache import CompletionCache
from almost_kedro.generation.engine import ENGINE_VERSIONS
from almost_kedro.generation.generator import Generator
from almost_kedro.generation.job import Job, ResponsesTask
from almost_kedro.generation.likelihood_job import VERSION, LikelihoodJob
from almost_kedro.jobs.generate import read_answers
from almost_kedro.jobs.likelihood import compute_logprobs
from almost_kedro.jobs.row_files import write_content
from almost_kedro.jobs.score import score
from almost_kedro.jobs.train import run_training
from almost_kedro.processes.progress import Progress
from almost_kedro.rows.json_lines import read_rows, write_rows
from almost_kedro.training.job import SCORE_VERSION, TRAINING_VERSIONS, ScoreJob, TrainingJob

FIXTURE = Path(__file__).parents[1] / "data/root_4692f1d.tar.xz"
# Each kind of kept work: whether what `4692f1d` kept of it is taken. Who raises a version says so
# here.
TAKEN = {
    "embedded": True,
    "vllm": True,
    "openai": True,
    "log-probabilities": True,
    "reward": False,
    "sft": False,
    "rl": False,
    "dpo": False,
    "scoring": False,
}
# The versions under which `4692f1d` kept its work.
KEPT = {
    **dict.fromkeys(ENGINE_VERSIONS, 1),
    "log-probabilities": 3,
    **dict.fromkeys(TRAINING_VERSIONS, 1),
    "scoring": 1,
}
TRAININGS = {
    "reward_model": "reward",
    "reward_model_seed_1": "reward",
    "held_out_reward_model": "reward",
    "sft_policy": "sft",
    "rl_policy": "rl",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The data root, where its job files say that it is."""
    root = tmp_path / "root"
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(root, filter="data")
    for file in root.rglob("job.json"):
        file.write_text(file.read_text().replace("ROOT", str(root)))
    return root


def read_jobs(root: Path, pattern: str) -> list[str]:
    jobs = [file.read_text() for file in sorted(root.glob(f"{pattern}/job.json"))]
    assert jobs
    return jobs


def list_folders(root: Path) -> set[Path]:
    return {folder for folder in root.glob("*/*/*") if folder.is_dir()}


def test_a_version_was_raised_for_what_is_made_anew_and_for_nothing_else() -> None:
    now = {
        **ENGINE_VERSIONS,
        "log-probabilities": VERSION,
        **TRAINING_VERSIONS,
        "scoring": SCORE_VERSION,
    }
    assert {kind: version == KEPT[kind] for kind, version in now.items()} == TAKEN


def test_the_first_version_adds_nothing_to_an_identity_and_each_other_one_something() -> None:
    assert tell_version(1) == []
    assert tell_version(2) != tell_version(3) != []


@pytest.mark.parametrize("program", TRAINING_VERSIONS)
def test_a_version_is_part_of_the_identity_of_its_own_kind_alone(
    program: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [
        TrainingJob.model_validate_json(text)
        for name in TRAININGS
        for text in read_jobs(root, f"06_models/work/{name}-????????????")
    ]
    before = [job.identity() for job in jobs]
    raised = {**TRAINING_VERSIONS, program: TRAINING_VERSIONS[program] + 1}
    monkeypatch.setattr("almost_kedro.training.job.TRAINING_VERSIONS", raised)
    changed = [job.identity() != old for job, old in zip(jobs, before, strict=True)]
    assert changed == [job.program == program for job in jobs]


def test_an_engines_version_is_part_of_every_key_of_its_answers(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job.model_validate_json(read_jobs(root, "04_feature/generation/*")[0])
    with CompletionCache(job.cache) as cache:
        generator = Generator(job, cache, Progress("", 0))
        before = generator.identity
        for engine in ("vllm", "embedded"):
            raised = {**ENGINE_VERSIONS, engine: ENGINE_VERSIONS[engine] + 1}  # type: ignore[index]
            monkeypatch.setattr("almost_kedro.generation.generator.ENGINE_VERSIONS", raised)
            assert (generator.identity != before) == (engine == job.generation.engine)


def identify(text: str, root: Path) -> str:
    """What a job is looked up by, whatever its program is."""
    fields = json.loads(text)
    if "program" in fields:
        return TrainingJob.model_validate_json(text).identity()
    if "separator" in fields:
        return ScoreJob.model_validate_json(text).identity()
    if "task" not in fields:
        return LikelihoodJob.model_validate_json(text).identity("0" * 64)
    with CompletionCache(root / "other.sqlite") as cache:
        return Generator(Job.model_validate_json(text), cache, Progress("", 0)).identity


def test_options_at_their_defaults_change_no_identity(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of `3636a5f`, the commit before checkpoints had chat templates, under its versions."""
    monkeypatch.setattr("almost_kedro.training.job.TRAINING_VERSIONS", VERSIONS)
    before = json.loads((FIXTURE.parent / "identities_3636a5f.json").read_text())
    files = {str(file.parent.relative_to(root)): file for file in root.glob("*/*/*/job.json")}
    assert {name: identify(file.read_text(), root) for name, file in files.items()} == before


def test_answers_come_from_the_request_cache(root: Path, tmp_path: Path) -> None:
    jobs = [Job.model_validate_json(text) for text in read_jobs(root, "04_feature/generation/*")]
    assert len(jobs) == 10
    for job in jobs:
        assert isinstance(job.task, ResponsesTask)
        before, out = job.out, tmp_path / "out"
        if not TAKEN[job.generation.engine]:
            check_unknown(job)
            continue
        # No model is there: whatever is not in the cache ends the job.
        worker.run_job(job.model_copy(update={"out": out}))
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["requests_generated"] == 0
        for number in range(len(job.task.groups)):
            name = f"answers_{number}.jsonl"
            assert list(read_answers(out / name)) == list(read_answers(before / name))


def check_unknown(job: Job) -> None:
    """None of the keys that the job's answers were kept under is asked for now."""
    with CompletionCache(job.cache) as cache:
        identity = Generator(job, cache, Progress("", 0)).identity
    model, options = job.model, job.generation
    kept = f"{model.fingerprint}/bos={model.bos}/{options.engine}/{options.dtype}"
    assert identity.startswith(f"{kept}/")


def test_log_probabilities_are_taken_or_asked_for_anew(root: Path) -> None:
    before = list_folders(root)
    for text in read_jobs(root, "04_feature/evaluation/logprobs-*"):
        job = LikelihoodJob.model_validate_json(text)
        rows = [Likelihood(**row) for row in read_rows(job.out / "rows.jsonl")]  # type: ignore[typeddict-item]
        asked = job.model_copy(update={"out": job.out.parent})
        if TAKEN["log-probabilities"]:
            answers, metrics = compute_logprobs(asked, rows)
            assert list(answers.values()) == list(read_rows(job.out / "logprobs.jsonl"))
            assert metrics == json.loads((job.out / "metrics.json").read_text())
        else:
            _, sha256 = write_content(root / "other", rows)
            assert job.identity(sha256)[:12] != job.out.name.rsplit("-", 1)[1]
    assert list_folders(root) == before


@pytest.mark.parametrize(("name", "program"), TRAININGS.items())
def test_trained_models_are_taken_or_trained_anew(name: str, program: str, root: Path) -> None:
    before = list_folders(root)
    [text] = read_jobs(root, f"06_models/work/{name}-????????????")
    job = TrainingJob.model_validate_json(text)
    assert (job.identity()[:12] == job.out.name.rsplit("-", 1)[1]) == TAKEN[program]
    if TAKEN[program]:
        watched = list(read_rows(job.watch_rows)) if job.watch_rows else None
        asked = job.model_copy(update={"out": job.out.parent})
        trained = run_training(asked, list(read_rows(job.rows)), watched)
        assert trained.folder == job.out
        assert trained.metrics == json.loads((job.out / "metrics.json").read_text())
        assert trained.curve == list(read_rows(job.out / "curve.jsonl"))
    assert list_folders(root) == before


@pytest.fixture
def scoring(root: Path, tiny_models: dict[str, Path]) -> ScoreJob:
    """A recorded job, with a reward model that is there."""
    text = read_jobs(root, "06_models/work/rewards-*")[0]
    job = ScoreJob.model_validate_json(text)
    folder = save(make_judge(), root / "judge", tiny_models)
    return job.model_copy(update={"model": job.model.model_copy(update={"folder": folder})})


def test_rewards_are_in_other_folders_than_those_that_were_kept(root: Path) -> None:
    for text in read_jobs(root, "06_models/work/rewards-*"):
        job = ScoreJob.model_validate_json(text)
        same = job.identity()[:12] == job.out.name.rsplit("-", 1)[1]
        assert same == TAKEN["scoring"]


def test_a_reward_that_was_kept_though_it_is_none_is_made_anew(scoring: ScoreJob) -> None:
    rows = list(read_rows(scoring.rows))
    file = scoring.out / "rewards.jsonl"
    file.write_text("".join(f'{{"id": "{row["id"]}", "reward": NaN}}\n' for row in rows))
    rewards, _ = score(scoring.model_copy(update={"out": scoring.out.parent}), rows)
    assert rewards.keys() == {row["id"] for row in rows}
    assert all(isinstance(reward, float) and reward == reward for reward in rewards.values())


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_reward_that_is_read_and_is_none_is_one_clear_line(value: str, scoring: ScoreJob) -> None:
    rows = list(read_rows(scoring.rows))
    out = scoring.out.with_name(f"rewards-{scoring.identity()[:12]}")
    out.mkdir()
    (out / "metrics.json").write_text("{}")
    write_rows(out / "rewards.jsonl", [{"id": "a", "reward": 1.5}])
    with (out / "rewards.jsonl").open("a") as file:
        file.write(f'{{"id": "b", "reward": {value}}}\n')
    with pytest.raises(UserError, match=rf"{out.name}/rewards.jsonl.*(line 2|of b is inf)"):
        score(scoring.model_copy(update={"out": scoring.out.parent}), rows)
