import subprocess
import sys
from pathlib import Path

import pytest

from almost_kedro.contract import Completion, Request, Sampling, digest
from almost_kedro.errors import UserError
from almost_kedro.generation.cache import CompletionCache, copy_cache, repair_cache, take_back
from almost_kedro.generation.engine import request_key

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


def test_a_copy_is_lent_and_what_is_added_to_it_is_taken_back(tmp_path: Path) -> None:
    path, copy = tmp_path / "cache.sqlite", tmp_path / "job/cache.sqlite"
    with CompletionCache(path) as cache:
        cache.put("a", Completion("first", "eos", 1))
        copy_cache(path, copy)  # while it is open
        with CompletionCache(copy) as lent:
            assert lent.get(["a"])["a"].text == "first"
            lent.put("b", Completion("of the job", "eos", 3))
        cache.put("c", Completion("meanwhile", "eos", 1))
        take_back(copy, path)
        kept = cache.get("abc")
    assert [kept[key].text for key in "abc"] == ["first", "of the job", "meanwhile"]
    assert list(copy.parent.iterdir()) == []


def test_a_copy_of_a_job_that_was_killed_has_all_that_it_finished(tmp_path: Path) -> None:
    path, copy = tmp_path / "cache.sqlite", tmp_path / "job/cache.sqlite"
    script = (
        "import os, pathlib\n"
        "from almost_kedro.generation.cache import CompletionCache\n"
        "from almost_kedro.generation.engine import Completion\n"
        f"CompletionCache(pathlib.Path({str(copy)!r})).put('a', Completion('kept', 'eos', 1))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert copy.with_name("cache.sqlite-wal").is_file()
    take_back(copy, path)
    with CompletionCache(path) as cache:
        assert cache.get("a")["a"].text == "kept"


def test_without_a_cache_there_is_nothing_to_lend_or_to_take_back(tmp_path: Path) -> None:
    path, copy = tmp_path / "cache.sqlite", tmp_path / "job/cache.sqlite"
    copy_cache(path, copy)
    take_back(copy, path)
    assert list(tmp_path.iterdir()) == []


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


def fill(path: Path, n: int) -> dict[str, Completion]:
    made = {digest(i): Completion(f"answer {i} " * 20, "eos", i) for i in range(n)}
    with CompletionCache(path) as cache:
        for key, completion in made.items():
            cache.put(key, completion)
    return made


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_cache_cut_short_is_one_clear_line_and_repair_keeps_what_is_left(
    share: float, tmp_path: Path
) -> None:
    path = tmp_path / "completions.sqlite"
    made = fill(path, 3000)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(int(size * share))
    with (
        pytest.raises(UserError, match=r"completions\.sqlite: damaged .*`kedro cache repair`"),
        CompletionCache(path) as cache,
    ):
        cache.get(made)
    kept, damaged = repair_cache(path)
    assert damaged.stat().st_size == int(size * share)
    with CompletionCache(path) as cache:
        found = cache.get(made)
        assert len(found) == kept
        assert all(made[key] == completion for key, completion in found.items())
        for key in made.keys() - found.keys():
            cache.put(key, made[key])
        assert cache.get(made) == made
    # The pages of the tree itself may be among the lost; of the rest, all must come back.
    assert kept >= 0.8 * share * len(made)


def test_bytes_overwritten_in_the_middle_cost_only_what_they_hit(tmp_path: Path) -> None:
    path = tmp_path / "completions.sqlite"
    made = fill(path, 3000)
    with path.open("r+b") as file:
        file.seek(100 * 4096)
        file.write(b"\xff" * 4096)
    kept, _ = repair_cache(path)
    assert 2900 < kept < 3000
    with CompletionCache(path) as cache:
        found = cache.get(made)
    assert all(made[key] == completion for key, completion in found.items())


def test_a_file_that_is_no_cache_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "completions.sqlite"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(UserError, match="damaged"):
        CompletionCache(path)
    assert repair_cache(path)[0] == 0
    with CompletionCache(path) as cache:
        cache.put("a", Completion("new", "eos", 1))


def test_there_is_nothing_to_repair_without_a_cache(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        repair_cache(tmp_path / "completions.sqlite")


def test_a_journal_cut_short_costs_only_its_end(tmp_path: Path) -> None:
    """After kill -9 the newest answers are in the journal; half of it may be lost."""
    path = tmp_path / "completions.sqlite"
    script = (
        "import os, pathlib, sys\nsys.path.insert(0, sys.argv[2])\n"
        "from test_cache import fill\n"
        "from almost_kedro.generation.cache import CompletionCache\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "keep = CompletionCache(path)\n"  # so that the journal stays
        "fill(path, 200)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", script, str(path), str(Path(__file__).parent)]
    assert subprocess.run(command, check=False).returncode == -9
    journal = path.with_name(path.name + "-wal")
    assert journal.stat().st_size > 10_000
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size // 2)
    with CompletionCache(path) as cache:
        kept = len(cache.get([digest(i) for i in range(200)]))
    assert 0 < kept < 200
