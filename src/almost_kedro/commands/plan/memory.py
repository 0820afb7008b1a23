"""How much memory a program needs, in bytes: weights, caches, optimiser, activations."""

from __future__ import annotations

from almost_kedro.commands.plan.workload import Ask, Training
from almost_kedro.models.shape import body
from almost_kedro.options.models import ModelShape

MB = 2**20
# Bytes of a number.
FLOAT32, BFLOAT16 = 4, 2
# The same of weights in 4 bits, with what they are scaled by (Dettmers et al. 2023: 0.127 bits).
IN_4BIT = 4.127 / 8
# Weights, gradients and AdamW's two moments, all float32.
TRAINED = 4 * FLOAT32
# Logits at a position on their way: as computed, their log-softmax and its gradient in float32.
LOGIT = BFLOAT16 + 2 * FLOAT32
# Bytes of activations a token and layer that training keeps in bfloat16, for each unit of the
# width, the keys' width and the inner width: of blocks as Llama's and Qwen2's, with attention that
# keeps no probabilities, as tests/training/test_activations.py counts them. Adapters keep what goes
# into them in float32.
KEPT, KEPT_BY_ADAPTERS = (20, 4, 8), (34, 4, 10)
# Bytes a token and unit of width that lie there at most while a layer reads.
READ = 34
# Tokens that scoring and log-probabilities compute at once (`batch_tokens`).
BATCH_TOKENS = 4096
# Rows that the embedded engine (on a CPU) and vLLM continue together at most.
ROWS = 256


def cache_bytes(shape: ModelShape, tokens: float, number: int) -> float:
    """Return keys and values of so many tokens."""
    return 2 * shape.layers * shape.kv_size * number * tokens


def generation_bytes(shape: ModelShape, rows: float, ask: Ask, number: int) -> float:
    """Return what generating takes: weights, caches of rows and of their prefix, logits.

    Prompts are read a few at a time, the prefix at once.

    Args:
        shape: The model's.
        rows: Generated together.
        ask: What is generated.
        number: Bytes of a number.
    """
    caches = cache_bytes(shape, rows * (ask.prompt + ask.limit) + ask.prefix, number)
    logits = rows * shape.vocabulary * (number + 2 * FLOAT32)
    read = ask.prefix * shape.hidden_size * READ
    return shape.parameters * number + caches + logits + read


def reading_bytes(shape: ModelShape, number: int) -> float:
    """Return what scoring takes: weights, and a layer's activations of a batch."""
    return shape.parameters * number + BATCH_TOKENS * shape.hidden_size * READ


def activation_bytes(
    shape: ModelShape,
    *,
    checkpointing: bool = False,
    adapters: bool = False,
    stream: int = BFLOAT16,
) -> float:
    """Return the activations of one token that wait for the way back.

    Where they are computed again, only what goes into each layer waits, `stream` bytes a number.
    """
    units = (shape.hidden_size, shape.kv_size, inner_size(shape))
    kept = KEPT_BY_ADAPTERS if adapters else KEPT
    layer = sum(each * unit for each, unit in zip(kept, units, strict=True))
    if checkpointing:  # while one layer is computed again, all of its own are there, too
        return shape.layers * shape.hidden_size * stream + layer
    return shape.layers * layer


def inner_size(shape: ModelShape) -> float:
    """Return the inner width of a block laid out as Llama's, which follows from its parameters.

    It has four matrices for attention, and three of one inner width.
    """
    width, kv = shape.hidden_size, shape.kv_size
    return (body(shape) / shape.layers / width - 2 * width - 2 * kv) / 3


def adapter_parameters(shape: ModelShape, rank: int) -> float:
    """Return how many numbers adapters of all linear layers have, if these are laid out as Llama's.

    Each adapter has the rank times its layer's inputs and outputs.
    """
    width, kv = shape.hidden_size, shape.kv_size
    return shape.layers * rank * (9 * width + 2 * kv + 3 * inner_size(shape))


def training_bytes(
    shape: ModelShape,
    training: Training,
    activation: float,
    judge: ModelShape | None,
    *,
    shards: int = 1,
    cpu_number: int = 0,
) -> float:
    """Return what training takes on one rank.

    Args:
        shape: The model's.
        training: What it trains on.
        activation: Bytes of activations a token.
        judge: Reward models that judge in training, whole on every rank, in bfloat16.
        shards: Over how many ranks weights, gradients and moments are spread.
        cpu_number: Bytes of a number that a CPU computes with; 0 on GPUs, where TRL never holds the
            logits of a whole batch.
    """
    if not cpu_number:
        return gpu_training_bytes(shape, training, activation, judge, shards)
    weights = held_bytes(shape, training, shards, cpu_number) + grad_bytes(shape, training, shards)
    if judge:
        weights += training.judges * judge.parameters * BFLOAT16
    held = training.batch * training.longest * activation
    if cpu_number == BFLOAT16 and not (training.rank or training.checkpointing):
        weights += shape.parameters * BFLOAT16  # `training.precision`
    if judge and training.ranks == 1:  # a copy writes rollouts: `training.rollouts.use_engine`
        weights += shape.parameters * cpu_number
    held += training.batch * training.labelled * shape.vocabulary * LOGIT
    return weights + held


def gpu_training_bytes(
    shape: ModelShape,
    training: Training,
    activation: float,
    judge: ModelShape | None,
    shards: int,
) -> float:
    """Return what training takes on one GPU, at the moment when it takes most; see above.

    A step computes gradients; in RL and DPO, a policy writes answers at other times, and the
    held-out reward model scores them, which is on the GPU only then.
    """
    base = held_bytes(shape, training, shards, BFLOAT16)
    step = grad_bytes(shape, training, shards)
    step += training.batch * training.longest * activation
    if shards > 1 and training.accumulation > 1:  # until the step's last batch, they are whole
        step += trained_parameters(shape, training) * BFLOAT16
    if shards == 1 and not training.rank:  # whole copies of weights: `training.precision`
        step += shape.parameters * BFLOAT16
    if not judge:
        return base + step
    base += (training.judges - 1) * judge.parameters * BFLOAT16
    rows = training.batch * training.accumulation
    writing = cache_bytes(shape, rows * training.longest, BFLOAT16)
    if shards > 1:  # `training.sharding.keep_whole`
        writing += shape.parameters * BFLOAT16
    return base + max(step, writing, judge.parameters * BFLOAT16)


def held_bytes(shape: ModelShape, training: Training, shards: int, number: int) -> float:
    """Return what lies there all the time: weights, moments, and the reference's weights.

    Below adapters, weights are as computed, or in 4 bits, and the model without its adapters is the
    reference.
    """
    if training.rank:
        trained = trained_parameters(shape, training)
        weights = shape.parameters * number
        if training.in_4bit:  # but for embeddings, and a head that may not be tied to them
            others = 2 * shape.vocabulary * shape.hidden_size
            weights = others * number + (shape.parameters - others) * IN_4BIT
        return (weights + trained * (TRAINED - FLOAT32)) / shards
    return shape.parameters * (TRAINED - FLOAT32 + FLOAT32 * training.reference) / shards


def grad_bytes(shape: ModelShape, training: Training, shards: int) -> float:
    """Return the gradients of a step."""
    return trained_parameters(shape, training) * FLOAT32 / shards


def trained_parameters(shape: ModelShape, training: Training) -> float:
    """Return how many numbers are trained."""
    return adapter_parameters(shape, training.rank) if training.rank else shape.parameters
