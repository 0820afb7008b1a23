"""Plans the runs of an environment: its texts, models and options become work, and that a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from kedro.io import DataCatalog

from almost_kedro.commands.plan.assumptions import CHARACTERS, Assumptions
from almost_kedro.commands.plan.benchmarks import find_benchmarks
from almost_kedro.commands.plan.calibration import CalibrationJob, calibrate
from almost_kedro.commands.plan.counts import count_work
from almost_kedro.commands.plan.counts_dpo import count_dpo
from almost_kedro.commands.plan.estimate import describe_step, estimate
from almost_kedro.commands.plan.inputs import make_inputs
from almost_kedro.commands.plan.lengths import measure_lengths
from almost_kedro.commands.plan.machine import Machine
from almost_kedro.commands.plan.roofline import GPUFigures, make_gpus
from almost_kedro.commands.plan.workload import DEFAULT, PIPELINES, Work, count_processes
from almost_kedro.contract import ModelFolder
from almost_kedro.costs.planned import Plan, digest_options
from almost_kedro.errors import UserError
from almost_kedro.evaluation.stages import APART
from almost_kedro.feedback.planning import plan_assistants
from almost_kedro.feedback.responses import build_question
from almost_kedro.models.find import locate_model, resolve_model
from almost_kedro.models.lengths import count_tokens
from almost_kedro.models.shape import read_shape
from almost_kedro.options.all import Options
from almost_kedro.options.models import ModelShape, TinyModel

CACHE_NOTE = (
    "what the request cache and the work folders hold from earlier runs is not counted: the run "
    "takes it from there"
)
# Of a model that nothing is known of: SmolLM2-135M's.
WIDTH = 576


class Planner:
    """Plans the runs of an environment."""

    def __init__(self, options: Options, catalog: DataCatalog):
        """Read the texts that a run starts from, and find its models."""
        self.options, self.catalog = options, catalog
        self.store: Path = catalog.load("workplace").models
        self.folders = {name: self._find(name) for name in list_models(options)}
        self.shapes = {
            name: read_shape(folder.folder if folder else None, options.models.root[name])
            for name, folder in self.folders.items()
        }
        demonstrations = {name: load() for name, load in catalog.load("demonstrations").items()}
        benchmarks, self.notes = find_benchmarks(
            options.evaluation, catalog.load("benchmark_assets")
        )
        self.assistants = plan_assistants(
            demonstrations, options.response_generation, options.rules
        )
        self.seeds: str = catalog.load("seed_prompts")
        shape = self.shapes[options.sft.model]
        self.lengths = measure_lengths(
            options,
            self.seeds,
            demonstrations,
            self.assistants,
            benchmarks,
            self.count_text,
            shape.hidden_size if shape else WIDTH,
        )

    def _find(self, name: str) -> ModelFolder | None:
        try:
            return locate_model(name, self.options.models.root, self.store)
        except UserError:
            if isinstance(self.options.models.root[name], TinyModel):
                return resolve_model(name, self.options.models.root, self.store)
            return None

    def count_text(self, model: str, text: str) -> int:
        """Count a text's tokens; by its characters if the model's tokenizer is not here."""
        folder = self.folders[model]
        found = count_tokens(folder.folder if folder else None, text)
        return round(len(text) / CHARACTERS) if found is None else found

    @contextmanager
    def under(self, options: Options) -> Iterator[None]:
        """Plan under other options of trainings, launch and generation, and note nothing."""
        before, notes = self.options, list(self.notes)
        self.options = options
        try:
            yield
        finally:
            self.options, self.notes = before, notes

    def count(self, assumptions: Assumptions, pipeline: str = DEFAULT) -> list[Work]:
        """Count the work of all programs of a pipeline; by default, of a whole run."""
        inputs = make_inputs(self.options, self.assistants, self.lengths, assumptions)
        apart = [stage.pipeline for stage in APART]
        asked = PIPELINES.keys() - apart if pipeline == DEFAULT else {pipeline}
        work = [*count_work(inputs), *count_dpo(inputs)]
        return [each for each in work if each.pipeline in asked]

    def measure(self, anew: bool) -> tuple[Machine, str]:
        """Calibrate with the smallest model that generates.

        Raises:
            UserError: Another engine than the one that is measured, or no model here.
        """
        options = self.options
        if options.generation.engine != "embedded":
            raise UserError(
                f"generation.engine is {options.generation.engine}, and only the embedded engine "
                "is measured here; give the GPUs' figures: --gpu tflops=...,bandwidth_gb_s=...,"
                "memory_gb=...,count=..."
            )
        writers = {each["model"] for each in self.assistants} | {options.prompt_generation.model}
        here = [
            (folder, shape)
            for name, folder in self.folders.items()
            if name in writers and folder and (shape := self.shapes[name])
        ]
        if not here:
            # Says which, and how to fetch it.
            resolve_model(sorted(writers)[0], options.models.root, self.store)
        found = calibrate(self._make_job(*min(here, key=lambda each: each[1].parameters)), anew)
        return found, (
            f"this machine ({found.device}, {found.memory_mb / 1024:,.1f} GB), measured with "
            f"{found.model}: writes {found.short_tokens:,.0f} tokens/s after short prompts and "
            f"{found.prefix_tokens:,.0f} after demonstrations, reads {found.read_tokens:,.0f}, "
            f"is trained on {found.reward_tokens:,.0f} (reward model) and "
            f"{found.policy_tokens:,.0f} (policy)"
        )

    def _make_job(self, model: ModelFolder, shape: ModelShape) -> CalibrationJob:
        options = self.options
        longest = max(self.assistants, key=lambda each: self.lengths.prefixes[each["name"]])
        seeds = self.seeds.splitlines()[1:]
        asked = self.lengths.frame + self.lengths.seed
        answer = Assumptions().answer_length * options.response_generation.max_new_tokens
        return CalibrationJob(
            model=model,
            shape=shape,
            dtype=options.generation.dtype,
            prefix=longest["prefix"],
            texts=[build_question(line, options.rules) for line in seeds if line.strip()],
            reward_model=options.reward_model.training,
            launch=options.launch,
            text_tokens=max(8, round(asked + answer)),
            out=self.catalog.load("calibration_work"),
        )

    def take(self, figures: GPUFigures) -> tuple[Machine, str]:
        """Return given GPUs.

        Raises:
            UserError: The options ask for more of them.
        """
        generation, launch = self.options.generation, self.options.launch
        ranks = launch.processes * launch.nodes
        writing = generation.tensor_parallel if generation.engine == "vllm" else 1
        auto = max(1, figures.count // writing)
        replicas = auto if generation.replicas == "auto" else generation.replicas
        most = max(ranks, writing * replicas)
        if most > figures.count:
            raise UserError(
                f"--gpu: count is {figures.count}, but the options ask for {most} "
                "(launch.processes x launch.nodes; generation.tensor_parallel x replicas)"
            )
        if launch.config == "cpu":
            self.notes.append(
                "launch.config is cpu, so training would leave the GPUs alone; it is planned as "
                "with launch.config: fsdp or gpu"
            )
        sharded = ranks > 1 and launch.config != "gpu"
        reading = figures.count if generation.replicas == "auto" else replicas
        gpus = make_gpus(figures, writing, sharded=sharded)
        return replace(gpus, replicas=replicas, reading=reading), (
            f"{figures.count} GPUs of {figures.tflops:g} TFLOP/s, {figures.bandwidth_gb_s:g} GB/s "
            f"and {figures.memory_gb:g} GB each, not measured"
        )

    def make(self, work: Sequence[Work], machine: Machine, name: str) -> Plan:
        """Estimate the work and write the plan."""
        options, shapes = self.options, self.shapes
        used, judge = {each.model for each in work}, shapes[options.reward_model.model]
        unknown = [
            f"model {model!r}: its size is unknown, so seconds and memory are missing; fetch it "
            f"(kedro models get {model}), or give its `shape` in models.yml"
            for model, shape in shapes.items()
            if shape is None and model in used
        ]
        as_is = options.as_is_filter
        if as_is.enabled and as_is.max_pairs is None:
            self.notes.append("as_is_filter: not counted, since max_pairs does not say how many")
        processes = count_processes(work, options.generation.engine)
        return Plan(
            options=digest_options(options.model_dump(mode="json")),
            machine=name,
            machine_mb=round(machine.memory_mb),
            processes=processes,
            start_seconds=round(machine.start_seconds * processes, 1),
            steps=[
                describe_step(each, estimate(each, shapes[each.model], machine, judge))
                for each in work
            ],
            assumptions=asdict(Assumptions().for_rules(options.rules)),
            notes=[*unknown, *self.notes, CACHE_NOTE],
        )


def list_models(options: Options) -> list[str]:
    """Return the names of all models that a run uses."""
    names = [options.prompt_generation.model]
    names += [each.model for each in options.response_generation.assistants]
    names += [options.reward_model.model, options.sft.model]
    if options.judge_kind != "rewards":
        names.append(options.evaluation.judge)
    return list(dict.fromkeys(names))
