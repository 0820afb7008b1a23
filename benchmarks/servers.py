"""What servers deliver: tokens a second over all of them, with demonstrations in front.

Run, once servers are up:
    python benchmarks/servers.py --url http://HOST:8000/v1 --url http://HOST:8001/v1 \
        --served-as NAME --tokenizer MODEL_FOLDER

Every request carries the same demonstrations and another seed prompt, as the answers of one
assistant do. The first round also fills the servers' prefix caches; the second is what a long run
sees.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from almost_kedro.contract import ModelFolder, Request, Sampling
from almost_kedro.feedback.responses import build_prefix, build_question
from almost_kedro.feedback.seeds import read_seed_file
from almost_kedro.generation.openai import OpenAIEngine
from almost_kedro.options.generation import GenerationOptions

ASSETS = Path(__file__).parents[1] / "assets"


def main() -> None:
    """Print one line a round and one a server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", action="append", required=True, help="can be repeated")
    parser.add_argument("--served-as", required=True, help="the model's name on the servers")
    parser.add_argument("--tokenizer", type=Path, help="folder; texts then go out as token ids")
    parser.add_argument("--requests", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--shots", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=64, help="requests at once, a server")
    options = parser.parse_args()
    seeds = read_seed_file((ASSETS / "seed_prompts.txt").read_text(encoding="utf-8")).prompts
    text = (ASSETS / "HHH_prompt.txt").read_text(encoding="utf-8")
    prefix = build_prefix(text, "HHH", options.shots, "corrected")
    servers = [
        {"url": url, "model": options.served_as, "concurrency": options.concurrency}
        for url in options.url
    ]
    generation = GenerationOptions.model_validate({"engine": "openai", "servers": servers})
    model = ModelFolder(name=options.served_as, folder=options.tokenizer, fingerprint="")
    engine = OpenAIEngine(model, generation, {})
    for seed, name in enumerate(("cold", "warm")):
        sampling = Sampling(1.0, 0.9, options.new_tokens, ("\n\nHuman:",), seed=seed)
        requests = [
            Request(build_question(seeds[i % len(seeds)], "corrected"), prefix, i)
            for i in range(options.requests)
        ]
        start = time.perf_counter()
        tokens = sum(c.n_tokens for _, c in engine.generate(requests, sampling, lambda n: None))
        seconds = time.perf_counter() - start
        print(f"{name}: {tokens} tokens in {seconds:.1f} s, {tokens / seconds:.0f} tokens/s")
    for server in engine.servers:
        print(f"  {server.options.url}: {server.answers} answers, {server.failures} failures")


if __name__ == "__main__":
    main()
