"""benchmarks/generation.py and end_to_end.py: what is run, what comes out, and a tiny real run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmark_scripts import BENCHMARKS, load

pytestmark = pytest.mark.slow


generation, engines, end_to_end = map(load, ("generation", "generation_engines", "end_to_end"))
Cell = generation.Cell
OURS = Cell("ours", 128, 3, 0.9, 64)
VLLM = OURS._replace(engine="vllm")
SUBJECT = generation.Subject("c", "m", "bfloat16")


def make_run(cell: Any, seconds: float, repeat: int = 0, **changed: Any) -> dict[str, Any]:
    run = {**SUBJECT._asdict(), "repeat": repeat, **cell._asdict()}
    tokens = cell.prompts * cell.new_tokens
    run |= {"tokens": tokens, "seconds": seconds, "load_seconds": 10, "peak_memory_mb": 1000}
    return run | changed


def test_every_engine_is_planned_on_the_compared_workloads() -> None:
    cells = generation.plan_default(generation.USUAL, 64)
    for workload in ((128, 3, 0.9, 64), (32, 3, 0.9, 64), (128, 0, 0.9, 64), (128, 3, 1.0, 64)):
        found = [cell.engine for cell in cells if cell.workload == workload]
        assert found == ["original", "plain", "continuous", "vllm", "ours"]


def test_only_fast_engines_are_swept_and_no_cell_is_planned_twice() -> None:
    cells = generation.plan_default(generation.USUAL, 64)
    assert {c.prompts for c in cells if c.engine == "ours"} == {32, 64, 128, 256, 512, 1024}
    assert {c.shots for c in cells if c.engine == "vllm"} == {0, 1, 2, 3, 4, 5}
    assert {(c.prompts, c.shots) for c in cells if c.engine == "plain"} == {
        (128, 3),
        (32, 3),
        (128, 0),
    }
    assert len(cells) == len(set(cells)) == 36


def test_slow_engines_get_at_most_128_prompts() -> None:
    cells = generation.plan_product(["original", "ours"], [128, 256], [3], [0.9], 64)
    assert [(c.engine, c.prompts) for c in cells] == [
        ("original", 128),
        ("ours", 128),
        ("ours", 256),
    ]


def test_engines_take_turns_on_a_workload() -> None:
    other = OURS._replace(prompts=32)
    runs = list(generation.order_runs([VLLM, OURS, other], 2))
    assert runs == [(VLLM, 0), (OURS, 0), (VLLM, 1), (OURS, 1), (other, 0), (other, 1)]


@pytest.mark.parametrize("field", SUBJECT._fields)
def test_finished_runs_are_not_repeated_but_of_another_subject(field: str) -> None:
    done = [make_run(OURS, 8.0)]
    assert generation.list_missing([OURS], 2, SUBJECT, done) == [(OURS, 1)]
    other = SUBJECT._replace(**{field: "other"})
    assert generation.list_missing([OURS], 2, other, done) == [(OURS, 0), (OURS, 1)]


def test_medians_of_a_commit_are_taken_with_the_largest_memory() -> None:
    # 8,192 tokens in 8, 16 and 32 s: 1,024, 512 and 256 a second; with 10 s of loading, 455, 315
    # and 195.
    runs = [make_run(OURS, seconds, n) for n, seconds in enumerate((8.0, 16.0, 32.0))]
    runs[0]["peak_memory_mb"] = 1200
    runs.append(make_run(OURS, 1.0, 3, commit="other"))
    [(cell, figures)] = generation.summarise(runs, SUBJECT).items()
    assert cell == OURS
    assert figures.speed == 512
    assert figures.speed_with_loading == pytest.approx(8192 / 26)
    assert (figures.memory_mb, figures.load_seconds, figures.runs) == (1200, 10, 3)
    assert figures.spread == (1024 - 256) / 512


def test_table_of_engines_has_ratios_and_no_sweep() -> None:
    slow = OURS._replace(engine="original")
    runs = [make_run(slow, 64.0), make_run(OURS, 16.0), make_run(OURS._replace(prompts=1024), 1.0)]
    table = generation.tabulate_engines(generation.summarise(runs, SUBJECT))
    assert table == (
        "| prompts | shots | top_p | engine | tokens/s | with loading | peak MB | ours is |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| 128 | 3 | 0.9 | `generate`, batches of 4 | 128 | 111 | 1,000 | 4.00 \u00d7 |\n"
        "| 128 | 3 | 0.9 | ours | 512 | 315 | 1,000 |  |\n"
    )


def test_table_of_a_sweep_sets_ours_beside_the_fastest_vllm() -> None:
    many = OURS._replace(prompts=1024)
    runs = [make_run(OURS, 16.0), make_run(VLLM, 64.0), make_run(many, 64.0)]
    runs.append(make_run(VLLM._replace(engine="vllm_process"), 32.0, peak_memory_mb=900))
    runs.append(make_run(OURS._replace(shots=5), 16.0))
    runs.append(make_run(OURS._replace(top_p=1.0), 16.0))
    figures = generation.summarise(runs, SUBJECT)
    assert generation.tabulate_sweep(figures, "prompts").splitlines()[2:] == [
        "| 128 | 512 | 256 | 2.00 \u00d7 | 1,000 | 900 |",
        "| 1,024 | 1,024 |  |  | 1,000 |  |",
    ]
    assert [line[:8] for line in generation.tabulate_sweep(figures, "shots").splitlines()[2:]] == [
        "| 3 | 51",
        "| 5 | 51",
    ]


def test_prompts_are_distinct_and_demonstrations_shared() -> None:
    requests = engines.build_requests(1024, 3)
    assert len({request.text for request in requests}) == 1024
    assert len({request.prefix for request in requests}) == 1
    # Three dialogues a shot, in turns from two files; one of them has two turns.
    assert requests[0].prefix.count("Human:") == 10
    assert requests[0].prefix.count(engines.SPLITTER) == 4
    assert engines.build_requests(1, 0)[0].prefix == ""


def test_every_label_has_an_engine() -> None:
    assert list(generation.LABELS) == list(engines.ENGINES)
    assert generation.MARK == engines.MARK


def test_tiny_model_is_measured_and_not_measured_again(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "results" / "generation.json"
    command = [sys.executable, str(BENCHMARKS / "generation.py"), "--out", str(out)]
    command += ["--model", str(tiny_models["tiny-small"]), "--only", "original,ours"]
    command += ["--prompts", "5", "--shots", "0", "--new-tokens", "3", "--repeats", "1"]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(2)
    )
    assert first.returncode == 0, first.stdout + first.stderr
    runs = json.loads(out.read_text())["runs"]
    assert [run["engine"] for run in runs] == ["original", "ours"]
    for run in runs:
        assert run["tokens"] == 15
        assert run["seconds"] > 0
        assert run["load_seconds"] > 0
        assert run["peak_memory_mb"] > 100
        assert run["versions"]["torch"]
    assert second.stdout.startswith("0 runs of 2 cells")
    tables = first.stdout[first.stdout.index("<!-- table: generation") :]
    assert tables in second.stdout


def test_node_times_and_the_rest_add_up_to_the_wall_time() -> None:
    lines = [
        (2.0, "12:00:02 INFO    Running node: write_prompts: write_prompts([a]) -> [b]"),
        (3.0, "12:00:03 INFO    prompts (m): 5 of 14"),
        (7.0, "12:00:07 INFO    Completed node: write_prompts"),
        (7.5, "12:00:07 INFO    Running node: train: train([b]) -> [c]"),
        (9.0, "12:00:09 INFO    Completed node: train"),
    ]
    events = [event for s, line in lines if (event := end_to_end.read_event(line, s))]
    nodes, other = end_to_end.time_nodes(events, 10.0)
    assert nodes == {"write_prompts": 5.0, "train": 1.5}
    assert list(other.values()) == [2.0, 0.5, 1.0]
    stages = end_to_end.sum_stages(nodes, {"write_prompts": "synthetic_feedback"})
    assert stages == {"synthetic_feedback": 5.0, "no pipeline": 1.5}
    assert "| train | 1.5 | 15.0% |" in end_to_end.format_shares("node", nodes, 10.0)


def test_nodes_that_cross_are_refused() -> None:
    events = [end_to_end.Event(1.0, "a", True), end_to_end.Event(2.0, "b", False)]
    with pytest.raises(ValueError, match="b is completed while a runs"):
        end_to_end.time_nodes(events, 3.0)


def test_data_root_joins_other_parameters() -> None:
    command = end_to_end.build_command(Path("/r"), ["--env", "smoke", "--params", "seed=1"])
    assert command[3:] == ["run", "--env", "smoke", "--params", "data_root=/r,seed=1"]


def test_programs_of_a_real_run_are_read(evaluated: Path) -> None:
    programs = end_to_end.read_programs(evaluated / end_to_end.STORE)
    names = [program["name"] for program in programs]
    assert names[0].startswith("prompts (")
    for program in programs:
        assert program["seconds"] > 0
        assert program["metrics"]["peak_memory_mb"] > 0
    table = end_to_end.format_programs(programs, 1000.0)
    assert len(table.splitlines()) == 2 + len(programs)


@pytest.mark.parametrize(
    ("name", "options", "lines"),
    [
        ("decoding_steps", ["--prompts", "3", "--shots", "1"], ["3 prompts, 1 shots", "softmax"]),
        (
            "short_requests",
            ["--dialogues", "4"],
            ["64 requests for prompts", "Rollouts", "Rewards of 4 answers"],
        ),
    ],
)
def test_where_time_goes_is_printed_for_a_tiny_model(
    name: str, options: list[str], lines: list[str], tiny_models: dict[str, Path]
) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *options]
    command += ["--dtype", "float32", "--model", str(tiny_models["tiny-large"])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for line in lines:
        assert line in done.stdout
