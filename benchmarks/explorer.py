"""10,000 comparisons in the explorer: how long a reader waits for the page and for each action.

Run: `pip install -c constraints.txt -e '.[browser]'`, then
`python benchmarks/explorer.py [--comparisons 10000]`

Needs Chromium, as `chromium` on the PATH. Prompts are 100 characters and answers 400, words drawn
at random. As in real runs, rules drop two pairs for each that they keep, and the page has all of
them. An action's time ends when the next frame is painted; a figure is the median of several, with
the slowest. The first search is apart: it makes the lower-case texts that all others search.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any

from almost_kedro.contract import row_id
from almost_kedro.feedback.comparisons import build_comparison
from almost_kedro.feedback.ledger import RuleVerdict, make_ledger_rows
from almost_kedro.options.evaluation import HELD_OUT_SET
from almost_kedro.pages.explorer import render_explorer
from almost_kedro.pages.explorer_rows import Explorer, build_explorer
from almost_kedro.rows.feedback import Assistant, Prompt, Response, Seed
from almost_kedro.rows.preferences import PreferenceVerdict
from almost_kedro.rows.training import PromptSplit, ScoredComparison

# Pairs of four assistants, of which a prompt keeps two.
N_ASSISTANTS, KEPT_A_PROMPT = 4, 2
SPLITS = ("reward_model", "held_out", "held_out_reward_model")
REPEATS = 7
# Does something, and says how many milliseconds it took until its frame was painted.
TIMER = """async (action) => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  await painted();
  const start = performance.now();
  eval(action);
  await painted();
  return performance.now() - start;
}"""


def write_words(draw: random.Random, words: list[str], length: int) -> str:
    """Return so many characters of words."""
    return " ".join(draw.choices(words, k=length // 4))[:length].strip()


def make_explorer(n: int) -> Explorer:
    """Make the page's document with n comparisons and twice as many dropped pairs."""
    draw = random.Random(0)
    words = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 9))) for _ in range(5000)]
    seeds = [
        Seed(seed_id=row_id("seed", i), text=write_words(draw, words, 100)) for i in range(100)
    ]
    assistants = [
        Assistant(
            name=f"model-HHH-{shots}shot",
            model="model",
            demonstrations="HHH",
            shots=shots,
            max_new_tokens=110,
            prefix="",
            off_topic=False,
        )
        for shots in range(N_ASSISTANTS, 0, -1)
    ]
    by_name = {assistant["name"]: assistant for assistant in assistants}
    pool = [seed["seed_id"] for seed in seeds]
    rows: dict[str, list[Any]] = {
        name: []
        for name in (
            "prompts",
            "splits",
            "responses",
            "comparisons",
            "ledger",
            "scores",
            "verdicts",
        )
    }
    for number in range(n // KEPT_A_PROMPT):
        prompt = Prompt(
            prompt_id=row_id("prompt", number),
            text=write_words(draw, words, 100),
            shot_ids=draw.sample(pool, 10),
            request_id=row_id("request", number),
        )
        pool.append(prompt["prompt_id"])
        rows["prompts"].append(prompt)
        split = draw.choice(SPLITS)
        rows["splits"].append(PromptSplit(prompt_id=prompt["prompt_id"], split=split))  # type: ignore[typeddict-item]
        answers = [
            Response(
                response_id=row_id("response", number, name),
                prompt_id=prompt["prompt_id"],
                assistant=name,
                text=write_words(draw, words, 400),
                finish_reason="stop",
                n_tokens=100,
                verdict="ok",
                source_id="",
            )
            for name in by_name
        ]
        rows["responses"] += answers
        for place, (chosen, rejected) in enumerate(combinations(answers, 2)):
            pair = build_comparison(prompt, chosen, rejected, by_name)
            key = pair["comparison_id"]
            if place >= KEPT_A_PROMPT:
                verdict = RuleVerdict("matched_length", f"{draw.random():.0%} apart, at most 18%")
                parents = [prompt["prompt_id"], chosen["response_id"], rejected["response_id"]]
                rows["ledger"] += make_ledger_rows(key, "corrected", verdict, parent_ids=parents)
                continue
            rows["comparisons"].append(pair)
            if split == "held_out":
                scores = [draw.gauss(0, 2) for _ in range(4)]
                rows["verdicts"] += [
                    PreferenceVerdict(
                        verdict_id=f"{HELD_OUT_SET}/{model}/{key}",
                        set=HELD_OUT_SET,
                        model=model,
                        item_id=key,
                        prompt_id=prompt["prompt_id"],
                        category="",
                        verdict="right",
                        hit=1.0,
                        n_choices=2,
                        score_right=draw.gauss(0, 2),
                        score_wrong=draw.gauss(0, 2),
                        n_best=1,
                    )
                    for model in ("sft", "rl")
                ]
                rows["scores"].append(
                    ScoredComparison(
                        comparison_id=key,
                        prompt_id=prompt["prompt_id"],
                        reward_chosen=scores[0],
                        reward_rejected=scores[1],
                        held_out_chosen=scores[2],
                        held_out_rejected=scores[3],
                    )
                )
    return build_explorer(
        seeds,
        rows["prompts"],
        rows["splits"],
        assistants,
        rows["responses"],
        rows["comparisons"],
        [rows["ledger"]],
        rows["scores"],
        rows["verdicts"],
    )


def fill(field: str, value: str) -> str:
    """Return JavaScript that fills a field of the form as a reader would."""
    return (
        f"FORM.elements['{field}'].value = {value!r}; "
        "FORM.dispatchEvent(new Event('input', {bubbles: true}))"
    )


def measure(page: Any, actions: dict[str, list[str]]) -> dict[str, list[float]]:
    """Time each of the actions of each name."""
    return {name: [page.evaluate(TIMER, each) for each in each_] for name, each_ in actions.items()}


def list_actions(explorer: Explorer) -> dict[str, list[str]]:
    """Return what is timed: a name, and JavaScript for each repetition."""
    ids = [explorer["pairs"][i * 97][0] for i in range(REPEATS)]
    words = [explorer["answers"][i * 97][-1].split()[0] for i in range(2 * REPEATS)]
    searches = [fill("search", f"{a} {b}") for a, b in zip(words[::2], words[1::2], strict=True)]
    rules = ["ok", "dropped", "matched_length", "ok", "dropped", "matched_length", ""]
    header = "document.querySelectorAll('#pairs th')[{}].querySelector('.dt-column-order').click()"
    return {
        "first search": [fill("search", words[0])],
        "search, two words": [*searches, fill("search", "")],
        "search by id": [*(fill("search", key) for key in ids), fill("search", "")],
        "filter by rule": [fill("rule", rule) for rule in rules],
        "the model is wrong": [fill("reward", "wrong"), fill("reward", "")] * 3,
        "sort": [header.format(5), header.format(6)] * 3,
        "turn the page": ["document.querySelector('.dt-paging .next').click()"] * REPEATS,
        "open a pair": [f"location.hash = 'comparison={key}'" for key in ids],
        "back to the list": ["location.hash = 'list'"],
    }


def main() -> None:
    """Print one line for the page and one for each action."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=10_000)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or sys.exit("there is no chromium on the PATH")
    explorer = make_explorer(options.comparisons)
    start = time.perf_counter()
    text = render_explorer(explorer)
    print(f"page made in {time.perf_counter() - start:.1f} s, {len(text.encode()) / 1e6:.1f} MB")
    print(
        f"{options.comparisons:,} comparisons, {len(explorer['pairs']):,} pairs with dropped ones"
    )
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        file = Path(name) / "explorer.html"
        file.write_text(text, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        loads = []
        for _ in range(3):
            page = browser.new_page(viewport={"width": 1280, "height": 900}, bypass_csp=True)
            page.goto(file.as_uri())
            loads.append(page.evaluate("performance.getEntriesByName('usable')[0].startTime"))
        print(f"{'load':20} {statistics.median(loads):6.0f} ms (slowest {max(loads):.0f})")
        for name, times in measure(page, list_actions(explorer)).items():
            print(f"{name:20} {statistics.median(times):6.0f} ms (slowest {max(times):.0f})")
        browser.close()


if __name__ == "__main__":
    main()
