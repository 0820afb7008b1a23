"""`kedro compare` on a data root of real datasets and a real MLflow store."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from heavy_imports import CHECK, run_python
from kedro.framework.context import KedroContext
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, Version
from sessions import kedro

from almost_kedro.cli.project import load_context
from almost_kedro.commands.compare.command import compare, split_place
from almost_kedro.errors import UserError
from almost_kedro.models.checkpoints import Checkpoint
from almost_kedro.processes.tracking import Tracker

OLD, NEW = "2026-03-01T10.00.00.000Z", "2026-03-02T10.00.00.000Z"
NEWEST = "2026-03-03T10.00.00.000Z"
HOSTILE = "<script>alert(1)</script>[red]\x1b[31m\u202e../../x' onload='x"
SHOWN = r"<script>alert(1)</script>[red]\x1b[31m\u202e../../x' onload='x"
N = 20


def make_answers(policy: str, reward: float) -> list[dict[str, Any]]:
    return [
        {
            "answer_id": f"{policy}{i}",
            "prompt_id": f"p{i}",
            "policy": policy,
            "text": "x" * 10,
            "finish_reason": "stop",
            "n_tokens": 4,
            "reward": 1.0 * i,
            "held_out_reward": reward + i,
        }
        for i in range(N)
    ]


def make_verdicts(n_right: int, model: str) -> list[dict[str, Any]]:
    """Verdicts on N items, the first `n_right` of them right."""
    letters = ("chosen_first_a", "chosen_first_b", "rejected_first_a", "rejected_first_b")
    return [
        {
            "verdict_id": f"{model}/hhh-{i:04}",
            "model": model,
            "item_id": f"hhh-{i:04}",
            "category": "other",
            "score_chosen": 1.0,
            "score_rejected": 0.0,
            "verdict": "right" if i < n_right else "wrong",
            "hit": float(i < n_right),
            **dict.fromkeys(letters, 0.5),
        }
        for i in range(N)
    ]


ITEMS = [
    {
        "item_id": f"hhh-{i:04}",
        "category": "other",
        "dialogue": f"question {i}",
        "chosen": "yes",
        "rejected": "no",
    }
    for i in range(N)
]


class Store:
    """A data root that is filled as `kedro run` would."""

    def __init__(self, project: Path, root: Path):
        self.project, self.root = project, root
        root.mkdir(exist_ok=True)

    def open(self, place: str | None = None) -> KedroContext:
        env, params = split_place(place, "smoke", {"data_root": str(self.root)})
        return load_context(self.project, env, params)

    def add_run(
        self,
        session: str,
        data: dict[str, Any],
        options: dict[str, Any],
        loaded: dict[str, str] | None = None,
        status: str = "FINISHED",
        pipelines: str = "evaluation",
    ) -> str:
        catalog = self.open().catalog
        assert isinstance(catalog, DataCatalog)
        for name, value in data.items():
            dataset = catalog.get(name, version=Version(None, session))
            assert dataset is not None
            dataset.save(value)
        tags = {
            "kedro.session_id": session,
            "kedro.env": "smoke",
            "kedro.pipeline": pipelines,
            "git.commit": "0" * 40,
        }
        tracker = Tracker.start(catalog.load("mlflow_store"), None, pipelines, tags)
        tracker.log_options(options)
        child = tracker.start_child("answers (tiny)")
        tracker.log_metrics({"seconds": 90, "tokens_generated": 1234}, run_id=child)
        tracker.end("FINISHED", child)
        if status != "KILLED":  # as the hook: Ctrl-C leaves no time for it
            tracker.set_tags({f"saved.{name}": session for name in data})
            tracker.set_tags({f"loaded.{name}": v for name, v in (loaded or {}).items()})
        tracker.end(status)
        return tracker.run_id

    def compare(self, *names: str, page: Path | None = None) -> None:
        compare(self.open, names, page)


@pytest.fixture(scope="module")
def store(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two runs: the new one gave 8 more right answers, and loaded the old one's items."""
    bootstrap_project(project)
    store = Store(project, tmp_path_factory.mktemp("compare") / "data")
    old: dict[str, Any] = {
        "hhh_items": ITEMS,
        "hhh_verdicts": make_verdicts(4, "sft") + make_verdicts(6, "rl"),
        "sft_answers": make_answers("sft", 0.0),
        "comparisons_metrics": {"n_comparisons": 7, "edges": {HOSTILE: {"n": 7}}},
        "gate": {"passed": False, "reasons": []},
    }
    new: dict[str, Any] = {
        "hhh_verdicts": make_verdicts(12, "sft") + make_verdicts(6, "rl"),
        "sft_answers": make_answers("sft", 1.0),
        "comparisons_metrics": {"n_comparisons": 9, "edges": {HOSTILE: {"n": 9}}},
        "gate": {"passed": True, "reasons": []},
    }
    for data, fingerprint in ((old, "a" * 64), (new, "b" * 64)):
        manifest = {"files": {}, "parents": {}}
        data["reward_model"] = Checkpoint(project, {**manifest, "fingerprint": fingerprint})
        data["held_out_reward_model"] = Checkpoint(project, {**manifest, "fingerprint": "f" * 64})
    same = {"evaluation": {"scoring": "corrected"}, "mlflow_uri": "http://me:secret@host"}
    store.add_run(OLD, old, {**same, "seed": 0, "generation": {"dtype": HOSTILE}})
    store.add_run(NEW, new, {**same, "seed": 1}, loaded={"hhh_items": OLD}, pipelines=HOSTILE)
    return store


def find_line(out: str, *starts: str) -> list[str]:
    """The cells of the first line that begins like this."""
    [line, *_] = [line for line in out.splitlines() if line.startswith(starts)]
    return re.split(r"\s{2,}", line.strip())


@pytest.fixture(scope="module")
def out(store: Store) -> str:
    """What comparing both prints into a pipe."""
    with redirect_stdout(io.StringIO()) as printed:
        store.compare("latest~1", "latest")
    return printed.getvalue()


@pytest.fixture(scope="module")
def other(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Another data root: items of the same ids with other texts; the newest run was killed."""
    bootstrap_project(project)
    store = Store(project, tmp_path_factory.mktemp("other") / "data")
    data = {
        "hhh_items": [{**item, "chosen": "something else"} for item in ITEMS],
        "hhh_verdicts": make_verdicts(18, "sft"),
        "sft_answers": make_answers("sft", 0.0),
        "gate": {"passed": True, "reasons": []},
    }
    options = {"seed": 0, "evaluation": {"scoring": "corrected"}}
    store.add_run(OLD, data, options)
    store.add_run(NEW, data, options, status="KILLED")
    [gate] = store.root.glob(f"08_reporting/gate.json/{NEW}/gate.json")
    gate.write_text("{")
    return store


def test_items_that_both_runs_judged_are_compared_pair_by_pair(out: str) -> None:
    # 4 of 20 and 12 of 20: 8 pairs differ, all in one direction.
    figure, a, b, difference, items, verdict = find_line(out, "sft  ")
    assert (figure, a[:5], b[:5]) == ("sft", "20.0%", "60.0%")
    assert difference.startswith("+40.0 points [+")
    assert (items, verdict) == ("20", "shown: higher (paired)")
    assert find_line(out, "rl  ")[3:] == ["+0.0 points [+0.0, +0.0]", "20", "same on every item"]


def test_what_is_shown_to_differ_stands_at_the_top(out: str) -> None:
    summary = out[: out.index("The two runs")]
    assert "Of 5 figures with a test, 2 are shown to differ" in summary
    assert "\n  Static HHH, sft: +40.0 points [" in summary


def test_rewards_are_compared_only_where_the_same_reward_model_gave_them(out: str) -> None:
    held_out = find_line(out, "sft: held-out reward")
    assert held_out[3:] == ["+1.000 [+1.000, +1.000]", "20", "shown: higher (paired)"]
    assert find_line(out, "sft: reward")[3:] == ["-", "measured differently"]
    assert find_line(out, "sft: length")[3:] == ["+0 [+0, +0]", "20", "same on every item"]


def test_models_are_told_apart_by_their_fingerprints(out: str) -> None:
    assert find_line(out, "held_out_reward_model") == [
        "held_out_reward_model", "f" * 12, "f" * 12, "same"
    ]  # fmt: skip
    assert find_line(out, "reward_model  ") == ["reward_model", "a" * 12, "b" * 12, "differ"]


def test_counts_and_verdicts_stand_side_by_side(out: str) -> None:
    assert find_line(out, "comparisons  ") == ["comparisons", "7", "9", "+2"]
    assert find_line(out, "gate  ") == ["gate", "not passed", "passed", "-"]


def test_options_that_differ_are_listed_and_no_others(out: str) -> None:
    options = out[out.index("OPTIONS") : out.index("FIGURES")]
    assert find_line(options, "seed") == ["seed", "0", "1"]
    assert find_line(options, "generation.dtype") == ["generation.dtype", SHOWN, "(not set)"]
    assert "mlflow_uri" not in options
    assert "secret" not in out


def test_each_run_is_read_in_the_version_that_it_used(out: str) -> None:
    data = out[out.index("DATA\n") : out.index("MODELS")]
    assert find_line(data, "hhh_verdicts") == ["hhh_verdicts", OLD, NEW, "40", "40"]
    # Loaded by the second run in the first one's version.
    assert "Datasets of rows with the same bytes in both runs: 1." in data


def test_costs_stand_side_by_side(out: str) -> None:
    costs = find_line(out, "answers (tiny)")
    assert costs == ["answers (tiny)", "1 min 30 s", "1 min 30 s", "1,234", "1,234"]


def test_hostile_names_and_values_do_nothing_on_a_terminal(out: str) -> None:
    assert SHOWN in out
    assert all(line.isprintable() for line in out.splitlines())


def test_the_page_holds_the_same_and_nothing_foreign(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")
    store.compare("latest~1", "latest", page=page)
    assert capsys.readouterr().out.splitlines()[-1] == f"page: {page}"
    html = page.read_text()
    assert "shown: higher (paired)" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;[red]\\x1b[31m\\u202e../../x&#39; onload" in html
    assert not re.search(r"<script|<link|<img|<iframe|\s(src|href)=.(?!#main)|\son\w+=\"", html)
    assert "secret" not in html
    assert html.count("<svg") == 2  # a drawing for each difference with an interval
    assert html.count("<caption>") == html.count("<table")


def test_one_run_alone_is_refused(store: Store) -> None:
    with pytest.raises(UserError, match="give two runs, or none for a list of them; found 1"):
        store.compare("latest")


def test_a_page_that_cannot_be_written_is_one_line(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be written: No such file or directory"):
        store.compare("latest", "latest", page=tmp_path / "none/page.html")


def test_a_run_is_the_same_as_itself(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.compare(NEW, "latest")
    out = capsys.readouterr().out
    assert "A and B are the same run." in out
    assert "All 6 figures with a test are the same on every item." in out


def test_without_names_the_runs_are_listed(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.compare()
    out = capsys.readouterr().out
    newest = find_line(out, "latest  ")
    assert newest[1] == NEW
    assert newest[3:7] == [SHOWN, "smoke", "finished", "00000000"]
    assert find_line(out, "latest~1")[1] == OLD


def test_a_run_of_another_data_root_is_found_there(
    store: Store, other: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.compare("latest~1", f"{other.root}@latest~1")
    out = capsys.readouterr().out
    # The same ids, but of other items.
    assert find_line(out, "sft  ")[3:] == ["-", "on other items"]
    # Nor does this data root have the reward models.
    assert find_line(out, "sft: reward")[3:] == ["-", "not known what measured it"]
    assert "Only A has comparisons_metrics, held_out_reward_model, reward_model." in out
    assert "Only A has Data; Static HHH: rl." in out
    with pytest.raises(UserError, match=f"there is no run 'latest~2' below .*{other.root}"):
        store.compare("latest", f"{other.root}@latest~2")


def test_a_killed_run_has_what_it_saved_and_damage_is_named(
    other: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    other.compare(OLD, NEW)
    out = capsys.readouterr().out
    assert find_line(out, "sft  ")[4:] == ["20", "same on every item"]
    assert "B ended as killed: what it did not reach is missing." in out
    assert "\nNot read, B: gate: " in out


def test_a_data_root_that_is_not_there_is_not_made(project: Path, tmp_path: Path) -> None:
    bootstrap_project(project)
    params = {"data_root": str(tmp_path / "none")}
    with pytest.raises(UserError, match="there are no runs below data_root"):
        compare(lambda _: load_context(project, "smoke", params), [], None)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("place", "opened"),
    [
        (None, ("base", {"data_root": "x", "seed": 1})),
        ("study", ("study", {"seed": 1})),
        ("old/data", ("base", {"data_root": "old/data", "seed": 1})),
    ],
)
def test_a_place_is_an_environment_or_a_data_root(
    place: str | None, opened: tuple[str, dict[str, Any]]
) -> None:
    assert split_place(place, "base", {"data_root": "x", "seed": 1}) == opened


def test_the_command_ends_in_one_line_or_well(project: Path, store: Store) -> None:
    options = ["--env", "smoke", "--params", f"data_root={store.root}"]
    done = kedro(project, "compare", "latest", "nope", *options)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: there is no run 'nope' below data_root")
    done = kedro(project, "compare", "latest~1", "latest", *options)
    assert done.returncode == 0
    assert "shown: higher (paired)" in done.stdout


def test_comparing_imports_nothing_heavy(project: Path, store: Store) -> None:
    run_python(
        f"""
from pathlib import Path
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path({str(project)!r}))
from almost_kedro.cli.project import load_context
from almost_kedro.commands.compare.command import compare
params = {{"data_root": {str(store.root)!r}}}
compare(lambda _: load_context(Path({str(project)!r}), "smoke", params), ["latest"] * 2, None)
{CHECK}
""",
        project,
    )


def test_reward_models_that_reward_together_are_not_the_first_of_them(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap_project(project)
    store = Store(project, tmp_path / "data")
    manifest = {"files": {}, "parents": {}}
    first = {**manifest, "fingerprint": "a" * 64}
    other = Checkpoint(project, {**manifest, "fingerprint": "c" * 64})
    both = Checkpoint(project, {**first, "scales": [[0.0, 1.0], [0.0, 1.0]]}, (other,))
    answers = make_answers("sft", 0.0)
    for session, model, n, penalty in (
        (OLD, Checkpoint(project, first), 1, 0.5),
        (NEW, both, 2, 0.5),
        (NEWEST, both, 2, 2.0),
    ):
        options = {"seed": 0, "reward_model": {"ensemble": n, "ensemble_penalty": penalty}}
        store.add_run(session, {"reward_model": model, "sft_answers": answers}, options)
    for names, same in ((("latest~2", "latest~1"), "differ"), (("latest~1", "latest"), "same")):
        store.compare(*names)
        out = capsys.readouterr().out
        assert find_line(out, "sft: reward")[3:] == ["-", "measured differently"]
        assert find_line(out, "reward_model  ")[-1] == same
    store.compare("latest", "latest")
    assert find_line(capsys.readouterr().out, "sft: reward")[-1] == "same on every item"


def test_a_policys_rewards_are_of_the_reward_models_that_it_was_tested_with(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of the run may be newer than its test of a policy."""
    bootstrap_project(project)
    store = Store(project, tmp_path / "data")
    model = Checkpoint(project, {"files": {}, "parents": {}, "fingerprint": "b" * 64})
    for session, tested in ((OLD, "a" * 64), (NEW, "b" * 64), (NEWEST, None)):
        data: dict[str, Any] = {"reward_model": model, "sft_answers": make_answers("sft", 0.0)}
        if tested:
            data["sft_policy_metrics"] = {"test": {"reward_model": tested}}
        store.add_run(session, data, {"seed": 0})
    store.compare("latest~2", "latest~1")
    assert find_line(capsys.readouterr().out, "sft: reward")[3:] == ["-", "measured differently"]
    # A test of before it was written down was with the run's own.
    store.compare("latest~1", "latest")
    assert find_line(capsys.readouterr().out, "sft: reward")[-1] == "same on every item"
