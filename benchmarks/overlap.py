"""Rule 6 at scale: the overlap index beside the plain loop over all accepted prompts.

Run: `python benchmarks/overlap.py [--prompts prompts.txt] [--sizes 1000 10000]`

The prompts are recombined from real ones: the first half of one, the second half of another; a
stated share are near-duplicates (an earlier prompt with one word replaced). The loop is
pure Python, as in the original; it is timed on what it does in `--loop-seconds` and extrapolated by
the number of comparisons. Both must give the same verdicts where both ran.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from almost_kedro.feedback.overlap import OverlapIndex, tokenize_words
from almost_kedro.feedback.prompts import read_seed_file

THRESHOLD = 0.5


def recombine(real: list[str], n: int, near_duplicates: float, seed: int) -> list[list[str]]:
    """Make n token lists from real prompts; that share of them are near-duplicates."""
    draw = random.Random(seed)
    tokens = [tokenize_words(text) for text in real]
    words = sorted({word for prompt in tokens for word in prompt})
    made: list[list[str]] = []
    for _ in range(n):
        if made and draw.random() < near_duplicates:
            copy = list(draw.choice(made))
            copy[draw.randrange(len(copy))] = draw.choice(words)
            made.append(copy)
        else:
            a, b = draw.choice(tokens), draw.choice(tokens)
            middle = draw.choices(words, k=draw.randint(2, 6))
            made.append(a[: len(a) // 2] + middle + b[len(b) // 2 :])
    return made


def lcs_length(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, the textbook way."""
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def run_index(prompts: list[list[str]]) -> tuple[list[bool], float]:
    """Return the verdicts (True: accepted) and the seconds they took."""
    start = time.perf_counter()
    index = OverlapIndex(THRESHOLD)
    verdicts = []
    for number, tokens in enumerate(prompts):
        accepted = index.find(tokens) is None
        if accepted:
            index.add(str(number), tokens)
        verdicts.append(accepted)
    return verdicts, time.perf_counter() - start


def run_loop(prompts: list[list[str]], limit: float) -> tuple[list[bool], int, float]:
    """Do the same by comparing with everything, for a while.

    Returns:
        Verdicts so far, comparisons done, seconds taken.
    """
    start = time.perf_counter()
    accepted: list[list[str]] = []
    verdicts: list[bool] = []
    compared = 0
    for tokens in prompts:
        if time.perf_counter() - start > limit:
            break
        scores = [2 * lcs_length(tokens, other) / (len(tokens) + len(other)) for other in accepted]
        compared += len(scores)
        verdicts.append(max(scores, default=0.0) < THRESHOLD)
        if verdicts[-1]:
            accepted.append(tokens)
    return verdicts, compared, time.perf_counter() - start


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=Path, help="one prompt a line; default: the seeds")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--near-duplicates", type=float, default=0.3)
    parser.add_argument("--loop-seconds", type=float, default=60)
    options = parser.parse_args()
    assets = Path(__file__).parents[1] / "assets/seed_prompts.txt"
    real = list(read_seed_file(assets.read_text(encoding="utf-8")).prompts)
    if options.prompts:
        real += options.prompts.read_text(encoding="utf-8").splitlines()
    print(f"{len(real)} real prompts, {options.near_duplicates:.0%} near-duplicates")
    for size in options.sizes:
        prompts = recombine(real, size, options.near_duplicates, seed=0)
        verdicts, seconds = run_index(prompts)
        loop, compared, loop_seconds = run_loop(prompts, options.loop_seconds)
        assert loop == verdicts[: len(loop)], "the index and the loop disagree"
        accepted = 0
        total = 0
        for verdict in verdicts:
            total += accepted
            accepted += verdict
        whole = loop_seconds * total / max(compared, 1)
        print(
            f"{size} prompts: {accepted} accepted; index {seconds:.2f} s; loop about {whole:.0f} s "
            f"(measured on {len(loop)}), {whole / seconds:.0f} times; same verdicts on {len(loop)}"
        )


if __name__ == "__main__":
    main()
