"""Rule 6 at scale: the overlap index beside the plain loop over all accepted prompts.

Run: `python benchmarks/overlap.py [--prompts prompts.txt] [--sizes 1000 10000 100000]`

The prompts are recombined from real ones; a stated share are near-duplicates. (From a thousand real
ones or more: those that only the 100 seeds give are soon too alike to be accepted.) The plain loop
is pure Python on the same tokens. It is timed on what it does in `--loop-seconds`; what it would
take for the rest is extrapolated by the number of comparisons. All times are processor time, so
that other work on the machine slows neither; the index's is the median of three runs.

Verdicts are checked twice. On all prompts that the loop came to, its verdicts must be the index's.
And at each size, for 2,000 prompts drawn at random, the index must have found the text and the
score that comparing with every prompt accepted before finds. There rapidfuzz compares, as the loop
would take hours.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from almost_kedro.feedback.overlap import OverlapIndex, tokenize_words
from almost_kedro.feedback.seeds import read_seed_file
from almost_kedro.processes.memory import peak_memory

ROOT = Path(__file__).parents[1]
THRESHOLD = 0.5
CHECKED = 2000

# Number and score of the most similar prompt accepted before.
Found = tuple[str, float] | None


def read_prompts(path: Path | None) -> tuple[str, list[str]]:
    """Return the name of a file of real prompts, and the prompts.

    Without a path, it is the largest of the seeds and what runs left below `data/` (not the newest,
    which is often that of a smoke test).
    """
    if path:
        return str(path), path.read_text(encoding="utf-8").splitlines()
    seeds = ROOT / "assets/seed_prompts.txt"
    files = {seeds: list(read_seed_file(seeds.read_text(encoding="utf-8")).prompts)}
    for run in sorted((ROOT / "data").glob("**/prompts.txt/*/prompts.txt")):
        files[run] = run.read_text(encoding="utf-8").splitlines()
    largest = max(files, key=lambda file: len(files[file]))
    return str(largest.relative_to(ROOT)), files[largest]


def recombine(
    real: Sequence[list[str]], n: int, near_duplicates: float, seed: int
) -> tuple[list[list[str]], list[bool]]:
    """Make n prompts, and tell of each whether it is a near-duplicate.

    A near-duplicate is an earlier prompt with one word replaced. Any other is a walk through words
    that follow each other in real prompts, redrawn until it is as long as a real prompt drawn for
    it. So words are as frequent and prompts as long as in real ones, yet they rarely repeat. As no
    new words come, even rare ones end up in many prompts: harder for the index than real text.
    """
    draw = random.Random(seed)
    words = [word for tokens in real for word in tokens]
    following = defaultdict(list)
    for tokens in real:
        for word, after in zip(["", *tokens], [*tokens, ""], strict=True):
            following[word].append(after)
    made: list[list[str]] = []
    copied = []
    for _ in range(n):
        copied.append(bool(made) and draw.random() < near_duplicates)
        if copied[-1]:
            tokens = list(draw.choice(made))
            tokens[draw.randrange(len(tokens))] = draw.choice(words)
            made.append(tokens)
        else:
            made.append(walk(following, len(draw.choice(real)), draw))
    return made, copied


def walk(following: dict[str, list[str]], length: int, draw: random.Random) -> list[str]:
    """Walk from a prompt's first word to its last; "" stands before the one and after the other.

    Hardly any walk is as long as the longest prompts: after 1,000, the last one will do.
    """
    for _ in range(1000):
        tokens = [draw.choice(following[""])]
        while after := draw.choice(following[tokens[-1]]):
            tokens.append(after)
        if len(tokens) == length:
            break
    return tokens


def lcs_length(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, the textbook way."""
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def run_loop(prompts: Sequence[list[str]], limit: float) -> tuple[list[bool], int, float]:
    """Compare each prompt with all accepted ones, until the time is up.

    Returns:
        Verdicts so far (True: accepted), comparisons done, seconds taken.
    """
    start = time.process_time()
    accepted: list[list[str]] = []
    verdicts: list[bool] = []
    compared = 0
    for tokens in prompts:
        if time.process_time() - start > limit:
            break
        scores = [2 * lcs_length(tokens, other) / (len(tokens) + len(other)) for other in accepted]
        compared += len(scores)
        verdicts.append(max(scores, default=0.0) < THRESHOLD)
        if verdicts[-1]:
            accepted.append(tokens)
    return verdicts, compared, time.process_time() - start


def run_index(prompts: Sequence[list[str]]) -> tuple[list[Found], float]:
    """Return what was found for each prompt (None: accepted), and the seconds taken."""
    start = time.process_time()
    index = OverlapIndex(THRESHOLD)
    results = []
    for number, tokens in enumerate(prompts):
        results.append(index.find(tokens))
        if results[-1] is None:
            index.add(str(number), tokens)
    return results, time.process_time() - start


def check_results(prompts: Sequence[list[str]], results: Sequence[Found], seed: int) -> int:
    """Compare a random sample with everything accepted before; returns the size of the sample."""
    accepted = [number for number, found in enumerate(results) if found is None]
    texts = [prompts[number] for number in accepted]
    lengths = np.array([len(text) for text in texts])
    sample = random.Random(seed).sample(range(len(prompts)), min(CHECKED, len(prompts)))
    for number in sample:
        before = bisect_left(accepted, number)
        expected = None
        if before:
            common = process.cdist([prompts[number]], texts[:before], scorer=LCSseq.similarity)[0]
            scores = 2 * common / (lengths[:before] + len(prompts[number]))
            best = int(scores.argmax())
            if scores[best] >= THRESHOLD:
                expected = (str(accepted[best]), float(scores[best]))
        assert results[number] == expected, f"prompt {number}: {results[number]} is not {expected}"
    return len(sample)


def measure_peak() -> float:
    """Return this process's highest memory so far, in MB."""
    return peak_memory() / 1e6


def measure_size(
    made: Sequence[list[str]], copied: Sequence[bool], verdicts: Sequence[bool], each: float
) -> float:
    """Print what one size takes; returns the index's seconds.

    Args:
        made: Prompts of this size.
        copied: Of each, whether it is a near-duplicate.
        verdicts: The loop's, as far as it came.
        each: Seconds that the loop takes for a comparison.
    """
    runs = [run_index(made) for _ in range(3)]
    results, taken = runs[0][0], statistics.median(seconds for _, seconds in runs)
    peak = measure_peak()
    accepted = np.array([found is None for found in results])
    both = min(len(made), len(verdicts))
    assert accepted[:both].tolist() == verdicts[:both], "the index and the loop disagree"
    checked = check_results(made, results, seed=0)
    # Each prompt is compared with all that were accepted before it.
    whole = each * int((np.cumsum(accepted) - accepted).sum())
    new = accepted[~np.array(copied)].mean()
    print(
        f"{len(made)} prompts: {accepted.sum()} accepted, {new:.0%} of those not near-duplicates\n"
        f"  index {taken:.3g} s, peak {peak:.0f} MB; "
        f"loop {whole:.3g} s, {whole / taken:.0f} times as long\n"
        f"  same verdicts as the loop on the first {both}; same text and score as comparing with "
        f"everything on a random {checked}"
    )
    return taken


def main() -> None:
    """Print what each size takes, and how the time grows from one to the next."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=Path, help="one prompt a line; default: a run's or seeds")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--near-duplicates", type=float, default=0.3, help="their share")
    parser.add_argument("--loop-seconds", type=float, default=60)
    options = parser.parse_args()
    name, texts = read_prompts(options.prompts)
    real = [tokens for tokens in map(tokenize_words, texts) if tokens]
    sizes = sorted(options.sizes)
    # A smaller size is the head of a larger one, so one run of the loop serves all.
    made, copied = recombine(real, sizes[-1], options.near_duplicates, seed=0)
    print(
        f"{len(real)} real prompts from {name}, recombined; "
        f"{options.near_duplicates:.0%} are an earlier prompt with one word replaced"
    )
    verdicts, compared, seconds = run_loop(made, options.loop_seconds)
    print(
        f"loop: {len(verdicts)} prompts, {compared} comparisons in {seconds:.1f} s; "
        "its times below are extrapolated from these by the number of comparisons"
    )
    each = seconds / compared
    taken = [measure_size(made[:size], copied[:size], verdicts, each) for size in sizes]
    for (n, before), (m, after) in pairwise(zip(sizes, taken, strict=True)):
        print(f"from {n} to {m}: index time grows as n^{math.log(after / before, m / n):.2f}")


if __name__ == "__main__":
    main()
