import subprocess
import sys
from pathlib import Path

from almost_kedro.generation.cache import CompletionCache
from almost_kedro.generation.engine import Completion, Request, Sampling, request_key

SAMPLING = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=8, stop=("\n",), seed=1)


def test_what_was_put_is_got_after_reopening(tmp_path: Path) -> None:
    completion = Completion("naïve \u2028 \x00 text", "stop", 7)
    with CompletionCache(tmp_path / "deep/cache.sqlite") as cache:
        cache.put("a", completion)
    with CompletionCache(tmp_path / "deep/cache.sqlite") as cache:
        assert cache.get(["a", "b"]) == {"a": completion}


def test_the_first_completion_under_a_key_stays(tmp_path: Path) -> None:
    with CompletionCache(tmp_path / "cache.sqlite") as cache:
        cache.put("a", Completion("first", "eos", 1))
        cache.put("a", Completion("second", "eos", 1))
        assert cache.get(["a"])["a"].text == "first"


def test_a_finished_completion_survives_kill_9(tmp_path: Path) -> None:
    script = (
        "import os, pathlib\n"
        "from almost_kedro.generation.cache import CompletionCache\n"
        "from almost_kedro.generation.engine import Completion\n"
        f"cache = CompletionCache(pathlib.Path({str(tmp_path)!r}) / 'cache.sqlite')\n"
        "cache.put('a', Completion('kept', 'eos', 1))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    with CompletionCache(tmp_path / "cache.sqlite") as cache:
        assert cache.get(["a"])["a"].text == "kept"


def test_the_key_names_everything_that_makes_a_completion() -> None:
    base = request_key("model", Request("text", "prefix"), SAMPLING)
    others = [
        request_key("other model", Request("text", "prefix"), SAMPLING),
        request_key("model", Request("text!", "prefix"), SAMPLING),
        request_key("model", Request("text", "prefix!"), SAMPLING),
        request_key("model", Request("text", "prefix", sample=1), SAMPLING),
        request_key("model", Request("text", "prefix"), Sampling(0.9, 0.9, 8, ("\n",), 1)),
        request_key("model", Request("text", "prefix"), Sampling(1.0, 0.8, 8, ("\n",), 1)),
        request_key("model", Request("text", "prefix"), Sampling(1.0, 0.9, 9, ("\n",), 1)),
        request_key("model", Request("text", "prefix"), Sampling(1.0, 0.9, 8, (), 1)),
        request_key("model", Request("text", "prefix"), Sampling(1.0, 0.9, 8, ("\n",), 2)),
    ]
    assert len({base, *others}) == len(others) + 1


def test_where_the_prefix_ends_does_not_change_the_key() -> None:
    assert request_key("m", Request("b", "a"), SAMPLING) == request_key(
        "m", Request("ab"), SAMPLING
    )
