"""The vllm engine for real: vLLM on this machine's processor. Run by `make test-vllm`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import contract
import pytest
from contract import GREEDY, complete

from almost_kedro.contract import ModelFolder, Request
from almost_kedro.generation.engine import Engine
from almost_kedro.options.generation import GenerationOptions

if TYPE_CHECKING:  # vLLM is not there where the other tests run
    from almost_kedro.generation.vllm import VllmEngine

pytestmark = pytest.mark.vllm


def load(folder: Path, **options: object) -> VllmEngine:
    from almost_kedro.generation.vllm import VllmEngine

    generation = GenerationOptions.model_validate({"engine": "vllm", "dtype": "float32", **options})
    return VllmEngine(ModelFolder(name="m", folder=folder, fingerprint="f"), generation)


@pytest.fixture(scope="module")
def engine(smollm2: Path) -> Iterator[VllmEngine]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.delenv("OMP_NUM_THREADS", raising=False)
        engine = load(smollm2)
    yield engine
    engine.llm.llm_engine.engine_core.shutdown()


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[Engine, Path], None], engine: VllmEngine, smollm2: Path) -> None:
    check(engine, smollm2)


def test_demonstrations_are_found_in_the_prefix_cache(engine: VllmEngine) -> None:
    prefix = "A person talks with an assistant. " * 60  # vLLM caches blocks of 128 tokens
    complete(engine, [Request("And?", prefix)], GREEDY)
    prompt = {"prompt_token_ids": engine.encoder.encode([prefix + "Or?"])[0]}
    (output,) = engine.llm.generate([prompt], use_tqdm=False)
    assert output.num_cached_tokens >= 256
