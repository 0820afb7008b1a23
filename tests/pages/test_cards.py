"""Dataset card and model card."""

import re
from typing import Any

import pytest
import yaml
from report_findings import make_metrics, make_options, make_run

from almost_kedro.pages.cards import (
    escape_markdown,
    name_license,
    name_size,
    quote,
    write_dataset_card,
    write_model_card,
)
from almost_kedro.pages.reward_card import write_reward_card

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e[red](javascript:x) | ```\n# Head"


def make_comparison(text: str = "Hello.") -> Any:
    return {"prompt": text, "chosen": text, "rejected": text}


def split(card: str) -> tuple[dict[str, Any], str]:
    _, head, body = re.split(r"^---$", card, maxsplit=2, flags=re.MULTILINE)
    return yaml.safe_load(head), body


def test_the_dataset_card_has_a_head_for_the_hub() -> None:
    head, body = split(write_dataset_card(make_run(), make_metrics(), [make_comparison()] * 3))
    assert head["license"] == "unknown"
    assert head["size_categories"] == ["n<1K"]
    assert head["configs"][0] == {"config_name": "comparisons", "data_files": "comparisons.jsonl"}
    assert "200 comparisons and 90 prompts" in body
    assert "60.0% \\[55.0%, 65.0%\\]" in body
    assert "- tiny: unknown" in body


def test_the_dataset_card_says_who_answers_another_prompt() -> None:
    run = make_run()
    one = {"model": "tiny", "demonstrations": "A", "shots": 3, "off_topic": True}
    run["options"]["response_generation"]["assistants"].append(one)
    _, body = split(write_dataset_card(run, make_metrics(), []))
    assert "- tiny, demonstrations A, shots: 3, off topic: its answers to other prompts\n" in body


def test_the_example_is_fenced_so_that_it_stays_text() -> None:
    _, body = split(write_dataset_card(make_run(), make_metrics(), [make_comparison(HOSTILE)]))
    shown = "<script>alert(1)</script>\\x1b[31m\\u202e[red](javascript:x) | ```\n# Head"
    assert body.count(f"````text\n{shown}\n````") == 3
    assert "\x1b" not in body


def test_without_comparisons_there_is_no_example() -> None:
    _, body = split(write_dataset_card(make_run(), make_metrics(), []))
    assert "There is none." in body


@pytest.mark.parametrize(
    ("entry", "head", "text"),
    [
        (
            {"source": "hub", "id": "org/m", "aligned": False},
            {"license": "unknown", "base_model": "org/m"},
            "| licence | unknown |",
        ),
        (
            {"source": "wheel", "license": "Apache-2.0", "terms": None, "aligned": True},
            {"license": "apache-2.0"},
            "| already aligned by its makers | yes |",
        ),
        (
            {"source": "wheel", "license": "Own Terms", "terms": "https://x.org", "aligned": None},
            {"license": "other"},
            "| already aligned by its makers | unknown |",
        ),
    ],
)
def test_the_model_card_says_what_it_comes_from(
    entry: dict[str, Any], head: dict[str, str], text: str
) -> None:
    run = make_run(models={"tiny": entry})
    found, body = split(write_model_card(run, make_metrics()))
    assert head.items() <= found.items()
    assert ("base_model" in found) == ("base_model" in head)
    assert found["tags"][:3] == ["trl", "sft", "rloo"]
    assert text in body


def test_the_model_card_has_the_verdict_and_figures_with_intervals() -> None:
    _, body = split(write_model_card(make_run(), make_metrics()))
    assert "**Did the reward model learn?** Yes: more than any judge that reads nothing." in body
    assert "| rl | 60.0% \\[55.0%, 65.0%\\]" in body
    assert "no published benchmark" in body
    assert "- base: f-base" in body


def test_the_model_card_says_how_to_ask_and_what_ends_an_answer() -> None:
    metrics = make_metrics()
    _, body = split(write_model_card(make_run(), metrics))
    assert "- `sft`: its own end token ended 36 of 40 answers to test prompts.\n" in body
    assert '`"\\n\\n-----"`, `"Assistant:"`, `"Human:"`. Give them as stop strings' in body
    _, body = split(write_model_card(make_run(rules="original"), metrics))
    assert "stop strings" not in body
    del metrics["rl_policy_metrics"]["policies"]["rl"]["share_ended_by_eos"]  # an older run
    _, body = split(write_model_card(make_run(), metrics))
    assert body.count("its own end token") == 1


def test_cards_of_models_trained_on_their_own_template_show_no_other_format() -> None:
    plain, chat = (
        split(write_model_card(make_run(dialogue=dialogue), make_metrics()))[1]
        for dialogue in ("plain", "chat_template")
    )
    assert "Human: QUESTION" in plain
    assert "the template refuses them" in plain
    assert "Human: QUESTION" not in chat
    assert "the template is that of tiny, which may write one" in chat
    base = {"name": "tiny", "fingerprint": "f0"}
    manifest = {"name": "reward_model", "base": base, "git_commit": "abc", "fingerprint": "f1"}
    nothing: Any = {"n": 0, "n_prompts": 0}
    plain = write_reward_card(manifest, "V1", "mit", {}, nothing, None)
    own = {**manifest, "base": {**base, "template": "abc"}}
    chat = write_reward_card(own, "V1", "mit", {}, nothing, None)
    assert "Human: QUESTION" in plain
    assert "Human: QUESTION" not in chat
    assert "written by the chat template of tiny. The reward is the one logit of" in chat


def test_names_do_nothing_in_a_card() -> None:
    options = make_options(sft={"model": HOSTILE})
    options["models"][HOSTILE] = {"source": "folder", "license": HOSTILE}
    run = {**make_run(), "options": options, "git_commit": HOSTILE}
    head, body = split(write_model_card(run, make_metrics()))  # type: ignore[arg-type]
    assert head["license"] == HOSTILE.lower()
    assert "<script>" not in body
    assert "\x1b" not in body
    assert "\n# Head" not in body


def test_what_acts_in_markdown_is_escaped() -> None:
    assert escape_markdown("a_b *c* [d](e) <f> `g` | #1 @h") == (
        r"a\_b \*c\* \[d\](e) \<f\> \`g\` \| \#1 \@h"
    )
    assert escape_markdown("http://x.org www.x.org") == r"http\://x.org www\.x.org"
    assert escape_markdown("two\nlines") == r"two\\nlines"
    assert escape_markdown(3) == 3


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    assert quote("````") == "`````text\n````\n`````"


def test_sizes_have_the_hubs_names() -> None:
    rows = (0, 999, 1_000, 10_000, 999_999, 1_000_000, 10_000_000)
    assert [name_size(n) for n in rows] == [
        "n<1K",
        "n<1K",
        "1K<n<10K",
        "10K<n<100K",
        "100K<n<1M",
        "1M<n<10M",
        "n>10M",
    ]


def test_terms_of_their_own_are_another_license() -> None:
    assert name_license({"license": "Gemma", "terms": "https://x"}) == "other"
    assert name_license({}) == "unknown"


def test_a_reward_model_that_rewarded_with_others_says_that_it_is_one_of_them() -> None:
    base = {"name": "tiny", "fingerprint": "f0"}
    manifest = {"name": "reward_model", "base": base, "git_commit": "abc", "fingerprint": "f1"}
    nothing: Any = {"n": 0, "n_prompts": 0}
    alone = write_reward_card(manifest, "V1", "mit", {}, nothing, None)
    together = write_reward_card(
        {**manifest, "scales": [[0.0, 1.0]] * 3}, "V1", "mit", {}, nothing, None
    )
    assert "In its run, 3 reward models that differ in their seeds rewarded as one." in together
    assert "rewarded as one" not in alone
    contrasts = {"scales": [[0.0, 1.0]] * 2, "contrasts": ["size", "topic"]}
    apart = write_reward_card({**manifest, **contrasts}, "V1", "mit", {}, nothing, None)
    assert "each trained on the comparisons of one contrast: size, topic. This is" in apart
    assert "differ in their seeds" not in apart
