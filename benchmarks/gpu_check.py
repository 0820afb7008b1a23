"""Does all that runs on a GPU run on this one, as on the CPU, and in the memory that is planned?

    python benchmarks/gpu_check.py [--out build/gpu_check] [--small]
    python benchmarks/gpu_check.py --packages
    python benchmarks/gpu_check.py --pack build/packages.tar.xz [--python 3.12]

For a machine with torch and without a network. The checkout is all that is read. Where the project
is installed, `--packages` says what else has to be there, and `--pack` puts all of that, for Linux
on x86-64 and a version of Python, into one archive below 64 MB: there, unpack it into a folder, and
name that in PYTHONPATH. The model is the real one where it
is, else a random one of its shape. One program after another: a failure is a row of the table, and
the next one runs. `--small`, and whatever runs without a GPU, is a two-layer model and few tokens,
which a CPU does in minutes.

It prints one table and writes it to gpu_check.json, with the peak of each program's GPU memory
beside what `kedro plan --gpu` says, but for what CUDA itself takes. Status 1 if a row failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
# The project need not be installed, for this process or for those that it starts.
sys.path.insert(0, str(PROJECT / "src"))
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(PROJECT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
)
MODEL = PROJECT / "data/01_raw/models/smollm2-135m"
# What the programs of training and generation import, but for what these need themselves.
NEEDED = (
    "accelerate",
    "datasets",
    "peft",
    "pydantic",
    "regex",
    "safetensors",
    "transformers",
    "trl",
)
# Of wheels.
PLATFORMS = (
    *(f"manylinux_2_{n}" for n in (34, 31, 28, 27, 26, 24, 17)),
    *("manylinux2014", "manylinux2010", "manylinux1"),
)
# What takes room in packages, and nothing imports.
LEFT_OUT = (
    *("*/tests", "bin", "pandas/*/tests", "numpy/*/tests", "pyarrow/include", "pyarrow/src"),
    *("pyarrow/*flight*", "pyarrow/*substrait*", "pyarrow/*gandiva*", "pyarrow/*orc*"),
)
# Share of the greedy answers that must be the CPU's; rounding flips near-ties.
SAME_ANSWERS = 0.75
LORA = {"rank": 16, "alpha": 32.0}


@dataclass(frozen=True)
class Size:
    """How much is done."""

    prompts: int
    new_tokens: int
    rows: int
    batch: int
    words: int  # of an answer


LARGE, SMALL = Size(128, 64, 64, 8, 80), Size(4, 8, 8, 4, 8)


@dataclass
class Row:
    """One line of the table."""

    what: str
    result: str = ""
    seconds: float = 0.0
    peak_mb: float | None = None
    planned_mb: float | None = None
    failed: bool = False


def main() -> None:
    """Check, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=PROJECT / "build/gpu_check")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--packages", action="store_true", help="print what torch's machine lacks")
    parser.add_argument("--pack", type=Path, help="an archive of these packages, to be written")
    parser.add_argument("--python", default="3.12", help="the version that the archive is for")
    options = parser.parse_args()
    if options.pack:
        pack(options.pack, options.python)
        return
    if options.packages:
        print("\n".join(list_packages()))
        return
    if missing := find_missing():
        raise SystemExit(f"not installed: {', '.join(missing)}; see --packages")
    import torch

    on_gpu = torch.cuda.is_available()
    size = LARGE if on_gpu and not options.small else SMALL
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    rows: list[Row] = []
    for check in list_checks(options.out, size, on_gpu):
        row = carry_out(check)
        rows.append(row)
        print(describe(row), flush=True)
    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    facts = {"device": name, "torch": torch.__version__, "size": asdict(size)}
    document = {**facts, "rows": [asdict(row) for row in rows]}
    (options.out / "gpu_check.json").write_text(json.dumps(document, indent=2) + "\n")
    print(f"\n{name}: {sum(row.failed for row in rows)} of {len(rows)} failed")
    raise SystemExit(any(row.failed for row in rows))


def list_packages() -> list[str]:
    """Return NAME==VERSION of all that NEEDED needs, but for torch and what torch brings."""
    brought = collect(["torch"])
    return sorted(f"{name}=={version(name)}" for name in collect(NEEDED) - brought)


def pack(file: Path, python: str) -> None:
    """Write an archive of the packages; what no program of ours imports is left out."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        command += ["--only-binary=:all:", "--python-version", python, "--target", folder]
        for platform in PLATFORMS:
            command += ["--platform", f"{platform}_x86_64"]
        subprocess.run([*command, *list_packages()], check=True)
        for pattern in LEFT_OUT:
            for path in sorted(Path(folder).glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        file.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(file, "w:xz") as archive:
            archive.add(folder, arcname=".")
    print(f"{file}: {file.stat().st_size / 1e6:.0f} MB")


def collect(names: Sequence[str]) -> set[str]:
    """Return packages and what they need, as far as it is installed here."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop().lower())
        try:
            version(name)
        except PackageNotFoundError:
            continue
        if name not in found:
            found.add(name)
            needs = [each for each in requires(name) or [] if "extra ==" not in each]
            left += [re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0] for each in needs]
    return found


def find_missing() -> list[str]:
    """Return which of NEEDED is not installed."""
    missing = []
    for name in NEEDED:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    return missing


def carry_out(check: tuple[str, Callable[[Row], None]]) -> Row:
    """Run a check; whatever it raises is its result."""
    what, run = check
    row, start = Row(what), time.perf_counter()
    try:
        run(row)
    except Exception as exc:
        row.result, row.failed = f"{type(exc).__name__}: {str(exc)[:300]}", True
    row.seconds = round(time.perf_counter() - start, 1)
    return row


def describe(row: Row) -> str:
    """Return a row as text."""
    memory = f"{row.peak_mb:,.0f} MB" if row.peak_mb else ""
    if row.planned_mb:
        memory += f" (planned {row.planned_mb:,.0f})"
    mark = "FAILED " if row.failed else ""
    return f"{row.what:<28} {row.seconds:>6.1f} s  {mark}{row.result}  {memory}".rstrip()


def list_checks(out: Path, size: Size, on_gpu: bool) -> Iterator[tuple[str, Callable[[Row], None]]]:
    """Yield the checks in their order; later ones use what earlier ones trained."""
    model = make_model(out / "model", size)
    device = "cuda" if on_gpu else "cpu"
    yield "greedy answers", lambda row: compare_answers(row, model, device, size)
    yield "tokens/s, 3 shots", lambda row: time_engine(row, model, device, size)
    if on_gpu and importlib.util.find_spec("vllm"):
        yield "tokens/s, 3 shots, vLLM", lambda row: time_vllm(row, model, size)
    config = "gpu" if on_gpu else "cpu"
    for program in ("reward", "sft", "dpo", "rl"):
        for lora in (None, LORA):
            name = f"{program}{'_lora' if lora else ''}"
            yield name, trainer(out, name, program, model, size, config, lora)
    if on_gpu:
        yield "reward_fsdp", trainer(out, "reward_fsdp", "reward", model, size, "fsdp", None)
        yield "rl_fsdp", trainer(out, "rl_fsdp", "rl", model, size, "fsdp", None)
        yield "rl_fsdp_lora", trainer(out, "rl_fsdp_lora", "rl", model, size, "fsdp", LORA)


def make_model(folder: Path, size: Size) -> Path:
    """Return the real model, or a random one of its shape; a tiny one for small checks."""
    if size is LARGE and (MODEL / "model.safetensors").is_file():
        return MODEL
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from almost_kedro.models.builder import draw_tiny_llama

    draw_tiny_llama(folder, 2, 64, 0)
    if size is LARGE:
        torch.manual_seed(0)
        config = LlamaConfig.from_pretrained(folder)
        config.update(
            {
                "vocab_size": 49152,
                "hidden_size": 576,
                "intermediate_size": 1536,
                "num_hidden_layers": 30,
                "num_attention_heads": 9,
                "num_key_value_heads": 3,
                "head_dim": 64,
                "tie_word_embeddings": True,
            }
        )
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def compare_answers(row: Row, model: Path, device: str, size: Size) -> None:
    """Let both devices answer greedily in float32."""
    from generation_engines import build_requests

    from almost_kedro.contract import Sampling
    from almost_kedro.generation.embedded import EmbeddedEngine

    requests = build_requests(min(16, size.prompts), 1)
    sampling = Sampling(0.0, 1.0, min(32, size.new_tokens))
    texts = []
    for each in ("cpu", device):
        engine = EmbeddedEngine(model, dtype="float32", device=each)
        found = dict(engine.generate(requests, sampling, lambda _: None))
        texts.append([found[number].text for number in range(len(requests))])
    same = sum(a == b for a, b in zip(*texts, strict=True)) / len(requests)
    row.result = f"{same:.0%} of {len(requests)} are the CPU's, token by token"
    row.failed = same < SAME_ANSWERS


def time_engine(row: Row, model: Path, device: str, size: Size) -> None:
    """Time the embedded engine in the numbers of `auto`, after one short call."""
    import torch
    from generation_engines import build_requests

    from almost_kedro.contract import Sampling
    from almost_kedro.generation.embedded import EmbeddedEngine

    engine = EmbeddedEngine(model, device=device)
    requests = build_requests(size.prompts, 3)
    for n, each in ((4, requests[:2]), (size.new_tokens, requests)):
        start = time.perf_counter()
        found = [
            text.n_tokens
            for _, text in engine.generate(each, Sampling(1.0, 0.9, n), lambda _: None)
        ]
        seconds = time.perf_counter() - start
    row.result = f"{sum(found) / seconds:,.0f} tokens/s"
    if device == "cuda":
        row.peak_mb = torch.cuda.max_memory_allocated() / 2**20


def time_vllm(row: Row, model: Path, size: Size) -> None:
    """Time vLLM on the same requests, in a process of its own."""
    job = {"engine": "vllm", "model": str(model), "prompts": size.prompts, "shots": 3}
    job |= {"top_p": 0.9, "new_tokens": size.new_tokens, "started": time.time()}
    script = PROJECT / "benchmarks/generation_engines.py"
    done = subprocess.run(
        [sys.executable, script, json.dumps(job)], capture_output=True, text=True, check=True
    )
    [line] = [each for each in done.stdout.splitlines() if each.startswith("@result ")]
    found = json.loads(line.removeprefix("@result "))
    row.result = f"{found['tokens'] / found['seconds']:,.0f} tokens/s"


def trainer(
    out: Path, name: str, program: str, model: Path, size: Size, config: str, lora: Any
) -> Callable[[Row], None]:
    """Return a check that trains by a program."""

    def check(row: Row) -> None:
        from almost_kedro.training.launch import launch

        job = make_job(out, name, program, model, size, config, lora)
        job_file = job.out / "job.json"
        job_file.write_text(job.model_dump_json(), encoding="utf-8")
        launch(job, job_file)
        metrics = json.loads((job.out / "metrics.json").read_text(encoding="utf-8"))
        last = "last_reward" if program == "rl" else "last_loss"
        row.result = (
            f"{metrics['tokens_per_second']:,.0f} tokens/s, {last.replace('_', ' ')} "
            f"{metrics[last]:.4f}"
        )
        row.peak_mb = metrics.get("peak_gpu_memory_mb")
        if row.peak_mb:
            row.planned_mb = plan_memory(job, model)

    return check


def make_rows(size: Size) -> list[dict[str, Any]]:
    """Make rows for every program out of the seed prompts: only their lengths matter."""
    from almost_kedro.feedback.responses import build_question
    from almost_kedro.feedback.seeds import read_seed_file

    text = (PROJECT / "assets/seed_prompts.txt").read_text(encoding="utf-8")
    seeds = read_seed_file(text).prompts
    words = " ".join(seeds).split()
    rows = []
    for number in range(size.rows):
        chosen, rejected = (
            " ".join(words[start % len(words) :][: size.words])
            for start in (7 * number, 7 * number + 300)
        )
        rows.append(
            {
                "id": f"row{number}",
                "dialogue": build_question(seeds[number % len(seeds)], "corrected"),
                "chosen": chosen,
                "rejected": rejected,
                "answer": chosen,
                # No reference is asked: steps take as long, whatever it says.
                "ref_chosen_logps": -3.0 * size.words,
                "ref_rejected_logps": -3.0 * size.words,
            }
        )
    return rows


def make_job(
    out: Path, name: str, program: str, model: Path, size: Size, config: str, lora: Any
) -> Any:
    """Describe a training of a few steps; RL and DPO have the reward model trained before."""
    from almost_kedro.contract import ModelFolder
    from almost_kedro.options.launch import LaunchOptions
    from almost_kedro.rows.json_lines import write_rows
    from almost_kedro.training.job import TrainingJob

    folder, rows = out / name, make_rows(size)
    folder.mkdir()
    write_rows(folder / "rows.jsonl", rows)
    write_rows(folder / "watch.jsonl", rows[:4])
    options: dict[str, Any] = {"learning_rate": 1e-5, "batch_size": size.batch, "lora": lora}
    watch = {"every": 99, "max_new_tokens": size.new_tokens}
    match program:
        case "rl":
            options |= {"steps": 3, "generations": 4, "max_new_tokens": size.new_tokens}
        case "dpo":
            options |= {"epochs": 1, "watch": watch}
        case _:
            options |= {"model": "model", "epochs": 1}
    fields: dict[str, Any] = {
        "program": program,
        "name": name,
        "base": as_folder(ModelFolder, model),
        "rows": folder / "rows.jsonl",
        "rows_sha256": "",
        "options": options,
        "separator": " ",
        "seed": 0,
        "launch": LaunchOptions.model_validate({"config": config, "dtype": "auto"}),
        "accelerate": PROJECT / f"conf/accelerate/{config}.yaml",
        "out": folder,
    }
    if program in ("rl", "dpo"):
        judge = as_folder(ModelFolder, out / "reward/model")
        fields |= {"held_out_reward_model": judge, "watch_rows": folder / "watch.jsonl"}
        if program == "rl":
            fields["reward_model"] = judge
    return TrainingJob(**fields)


def as_folder(kind: Any, folder: Path) -> Any:
    """Return a model folder as a job names it."""
    return kind(name=folder.name, folder=folder, fingerprint=str(folder))


def plan_memory(job: Any, model: Path) -> float:
    """Return the megabytes that `kedro plan --gpu` would say, without CUDA's own."""
    from almost_kedro.commands.plan.memory import MB, activation_bytes, training_bytes
    from almost_kedro.commands.plan.workload import Training
    from almost_kedro.models.shape import read_shape
    from almost_kedro.models.texts import TextEncoder
    from almost_kedro.rows.json_lines import read_rows

    shape: Any = read_shape(model, None)  # type: ignore[arg-type]
    encoder = TextEncoder(job.base, job.separator, sys.maxsize)
    rows = list(read_rows(job.rows))
    texts = [encoder.encode(row["dialogue"], row["chosen"]) for row in rows]
    longest = max(len(text.ids) for text in texts)
    judged = job.program in ("rl", "dpo")
    if job.program == "rl":
        prompt = max(len(encoder.encode_dialogue(row["dialogue"])) for row in rows)
        longest = prompt + job.options.max_new_tokens
    training = Training(
        steps=1,
        batch=job.options.batch_size * (2 if job.program in ("reward", "dpo") else 1),
        longest=longest,
        rank=job.options.rank,
        reference=job.program == "rl",
        judges=2 if job.program == "rl" else 1,
    )
    activation = activation_bytes(shape)
    return training_bytes(shape, training, activation, shape if judged else None) / MB


if __name__ == "__main__":
    main()
