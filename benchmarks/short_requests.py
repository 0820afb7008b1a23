"""Work without long demonstrations: requests for prompts, rollouts, rewards; beside transformers.

Run: `python benchmarks/short_requests.py [--dtype float32]`

Requests for prompts have ten examples each, of which no two requests have the same, and get sixteen
tokens. Rollouts are four answers to each dialogue, sixteen at once, as a step of RL has them; ours
takes the policy's weights before, as it does at each step. Rewards are of four answers to each
dialogue, by a reward model whose head is random. Plain transformers pads batches of 64 (rollouts:
of 16), rewards in order of length. All is bfloat16, or what `--dtype` says; ways take turns, and
medians of three count.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from generation_engines import (
    ASSETS,
    LARGE_BATCH,
    MODEL,
    TEMPERATURE,
    Measurement,
    load_model,
    open_generate,
    open_ours,
)
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

from almost_kedro.contract import ModelFolder, Request, Sampling
from almost_kedro.feedback.prompts import build_prompt_request
from almost_kedro.feedback.responses import build_question
from almost_kedro.feedback.seeds import SeedFile, read_seed_file
from almost_kedro.generation.embedded import EmbeddedEngine
from almost_kedro.generation.number_format import choose_dtype
from almost_kedro.generation.sampling import DRAWS
from almost_kedro.models.tokens import Encoder
from almost_kedro.training.score import RewardScorer

REPEATS, PROMPT_REQUESTS, EXAMPLES, PROMPT_TOKENS = 3, 64, 10, 16
ROLLOUT_DIALOGUES, ROLLOUTS_AT_ONCE, ROLLOUT_TOKENS = 8, 16, 64
DIALOGUES, ANSWERS, ANSWER_TOKENS = 48, 4, 100
SEED = 0


def read_seeds() -> SeedFile:
    """Return the instruction and the seed prompts."""
    return read_seed_file((ASSETS / "seed_prompts.txt").read_text(encoding="utf-8"))


def build_prompt_requests() -> list[Request]:
    """Build requests as the first round of prompt generation does."""
    seeds = read_seeds()
    draw = random.Random(SEED)
    parts = [
        build_prompt_request(seeds.instruction, draw.sample(seeds.prompts, EXAMPLES))
        for _ in range(PROMPT_REQUESTS)
    ]
    return [Request(text, prefix, sample) for sample, (prefix, text) in enumerate(parts)]


def build_answer_requests(dialogues: int) -> list[Request]:
    """Ask for several answers to each dialogue."""
    return [
        Request(build_question(seed, "corrected"), sample=sample)
        for seed in read_seeds().prompts[:dialogues]
        for sample in range(ANSWERS)
    ]


def open_rollouts(job: Measurement) -> Callable[[Sequence[list[int]]], None]:
    """Open the engine as RL uses it: with other weights at each step."""
    engine = EmbeddedEngine(Path(job.model), dtype=job.dtype, rows=ROLLOUTS_AT_ONCE)
    engine.end_ids = set()
    weights = load_model(job.model, job.dtype).state_dict()
    sampling = Sampling(TEMPERATURE, job.top_p, ROLLOUT_TOKENS)

    def write(texts: Sequence[list[int]]) -> None:
        for start in range(0, len(texts), ROLLOUTS_AT_ONCE):
            part = texts[start : start + ROLLOUTS_AT_ONCE]
            engine.take_weights(weights)
            uniforms = np.random.default_rng(SEED).random((len(part), ROLLOUT_TOKENS, DRAWS))
            engine.continue_ids(part, uniforms, sampling)

    return write


def write_answers(model: Path, dtype: str, dialogues: int) -> list[list[int]]:
    """Let the model answer each dialogue; returns token ids of dialogues with an answer and eos."""
    engine = EmbeddedEngine(model, dtype=dtype)
    engine.end_ids = set()
    requests = build_answer_requests(dialogues)
    found = dict(engine.generate(requests, Sampling(TEMPERATURE, 0.9, ANSWER_TOKENS)))
    texts = [request.text + found[i].text for i, request in enumerate(requests)]
    return [[*ids, engine.tokenizer.eos_token_id] for ids in engine.encode(texts)]


def score_padded(model: Any, rows: Sequence[list[int]]) -> list[float]:
    """Score in batches, padded on the right, the longest first."""
    rewards = [0.0] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    for start in range(0, len(order), LARGE_BATCH):
        part = order[start : start + LARGE_BATCH]
        width = len(rows[part[0]])
        ids = torch.tensor([rows[i] + [0] * (width - len(rows[i])) for i in part])
        mask = torch.tensor([[1] * len(rows[i]) + [0] * (width - len(rows[i])) for i in part])
        with torch.inference_mode():
            states = model.base_model(ids, attention_mask=mask).last_hidden_state
            last = states[torch.arange(len(part)), mask.sum(dim=1) - 1]
            found = model.score(last)[:, 0].tolist()
        for i, reward in zip(part, found, strict=True):
            rewards[i] = reward
    return rewards


def compare(title: str, tokens: int, ways: Mapping[str, Callable[[], Any]]) -> None:
    """Time ways of doing the same in turns, and print a line each."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, act in ways.items():
            start = time.perf_counter()
            act()
            seconds[name].append(time.perf_counter() - start)
    print(f"\n{title}: {tokens:,} tokens")
    slowest = max(median(each) for each in seconds.values())
    for name, each in seconds.items():
        found = median(each)
        rate, ratio = tokens / found, slowest / found
        print(f"  {name:13} {found:6.2f} s  {rate:7,.0f} tokens/s {ratio:5.2f} x")


def main() -> None:
    """Print the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--dialogues", type=int, default=DIALOGUES, help="that get rewards")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder, dtype = options.model.resolve(), options.dtype
    job = Measurement("", str(folder), 0, 0, 0.9, PROMPT_TOKENS, time.time(), dtype)
    requests = build_prompt_requests()
    texts = Encoder(folder).encode([request.prefix + request.text for request in requests])
    plain, ours = open_generate(job, LARGE_BATCH), open_ours(job)
    compare(
        f"{PROMPT_REQUESTS} requests for prompts, {EXAMPLES} examples, {PROMPT_TOKENS} new tokens",
        sum(map(len, texts)) + PROMPT_REQUESTS * PROMPT_TOKENS,
        {
            "transformers": lambda: plain(requests, PROMPT_TOKENS),
            "ours": lambda: ours(requests, PROMPT_TOKENS),
        },
    )
    asked = build_answer_requests(ROLLOUT_DIALOGUES)
    texts = Encoder(folder).encode([request.text for request in asked])
    plain, write = open_generate(job, ROLLOUTS_AT_ONCE), open_rollouts(job)
    compare(
        f"Rollouts: {ANSWERS} answers of {ROLLOUT_TOKENS} tokens to each of "
        f"{ROLLOUT_DIALOGUES} dialogues",
        sum(map(len, texts)) + len(texts) * ROLLOUT_TOKENS,
        {
            "transformers": lambda: plain(asked, ROLLOUT_TOKENS),
            "ours": lambda: write(texts),
        },
    )
    rows = write_answers(folder, dtype, options.dialogues)
    cpu = torch.device("cpu")
    torch.manual_seed(SEED)
    scorer = RewardScorer(
        ModelFolder(name="random head", folder=folder, fingerprint=""),
        choose_dtype(dtype, cpu),
        cpu,
    )
    torch.manual_seed(SEED)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=dtype, num_labels=1
    ).eval()
    model.score.load_state_dict(scorer.model.score.state_dict())
    compare(
        f"Rewards of {ANSWERS} answers to each of {options.dialogues} dialogues",
        sum(map(len, rows)),
        {
            "transformers": lambda: score_padded(model, rows),
            "ours": lambda: scorer.score(rows),
        },
    )
    found, expected = scorer.score(rows), score_padded(model, rows)
    apart = [abs(a - b) for a, b in zip(found, expected, strict=True)]
    spread = torch.tensor(expected).std()
    print(f"  at most {max(apart) / spread:.2g} of the rewards' spread apart")


if __name__ == "__main__":
    main()
