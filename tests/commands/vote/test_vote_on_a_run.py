"""`kedro vote` on what a whole run made."""

import json
from itertools import permutations
from pathlib import Path

import pytest
from kedro.framework.startup import bootstrap_project
from sessions import kedro, make_options, read_document
from vote_sample import make_votes_file, read_key, read_page

from almost_kedro.cli.project import load_catalog
from almost_kedro.commands.vote.answers import find_answers
from almost_kedro.evaluation.stages import POLICIES


def test_every_two_policies_have_answers_and_judges(project: Path, evaluated: Path) -> None:
    bootstrap_project(project)
    catalog = load_catalog(project, "smoke", {"data_root": str(evaluated)})
    judged = set()
    for models in permutations(POLICIES, 2):
        found = find_answers(catalog, models)
        assert found.judge == "held_out_reward_model"
        for pair in found.pairs:
            judged.add((pair.source, *pair.judges))
    # The policies of two datasets, too, were scored by the same reward models.
    both = ("reward_model", "held_out_reward_model")
    assert judged == {
        ("open_answers", "judge"),
        ("sft_answers", *both),
        ("rl_answers", *both),
        ("rl_answers+sft_answers", *both),
        ("sft_answers+rl_answers", *both),
    }


@pytest.mark.slow
def test_the_next_report_shows_the_votes(project: Path, evaluated: Path, tmp_path: Path) -> None:
    params = ("--env", "smoke", "--params", f"data_root={evaluated}")
    page, votes = tmp_path / "vote.html", tmp_path / "votes.json"
    done = kedro(project, "vote", "rl", "base", "--to", str(page), *params)
    assert done.returncode == 0, done.stderr
    sides = [(each["vote_id"], each["a_is"]) for each in read_key(evaluated)["questions"]]
    votes.write_text(json.dumps(make_votes_file(read_page(page)["page"], sides)))
    done = kedro(project, "vote", "--count", str(votes), *params)
    assert done.returncode == 0, done.stderr
    [found] = read_document(evaluated, "human_votes_metrics")["pages"]
    # Whoever votes for rl each time agrees with the judge where the judge prefers rl.
    card = read_document(evaluated, "judge_cards")["cards"]["rl-vs-base"]
    assert found["judges"]["judge"]["value"] == pytest.approx(card["win_rate"]["value"])
    assert found["judges"]["judge"]["n"] == card["n_questions"]
    assert found["win_rate"]["value"] == 1
    done = kedro(project, "run", *make_options(evaluated, "evaluation"), "--nodes", "write_report")
    assert done.returncode == 0, done.stdout + done.stderr
    report = sorted(evaluated.glob("08_reporting/report.html/*/report.html"))[-1].read_text()
    assert f"<caption>rl against base, page {found['page'][:8]}</caption>" in report
