"""The command line as a user meets it."""

from pathlib import Path

from sessions import kedro


def test_a_bad_option_ends_in_one_line_without_a_traceback(project: Path, tmp_path: Path) -> None:
    params = f"data_root={tmp_path},comparisons.pair=all"
    done = kedro(
        project, "run", "--pipeline", "synthetic_feedback", "--env", "smoke", "--params", params
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "Error: option comparisons.pair: there is no such option; check the spelling"
    )


def test_a_model_that_is_not_here_ends_in_one_line(project: Path, tmp_path: Path) -> None:
    params = f"data_root={tmp_path},models.mine.source=folder,models.mine.path=/nowhere"
    params += ",prompt_generation.model=mine"
    done = kedro(project, "run", "--env", "smoke", "--params", params)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "Error: model 'mine': no config.json in /nowhere; give a model folder"
    )


def test_an_environment_that_is_not_there_ends_in_one_line(project: Path) -> None:
    for command in (["run"], ["models", "list"]):
        done = kedro(project, *command, "--env", "papr")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("Error: ")


def test_models_list_shows_every_model_of_an_environment(
    project: Path, tiny_models: dict[str, Path]
) -> None:
    done = kedro(project, "models", "list", "--env", "smoke")
    assert done.returncode == 0
    states = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert {"smollm2-135m", "gemma-3-270m", "tiny-small", "tiny-large"} <= set(states)
    assert str(tiny_models["tiny-small"]) in states["tiny-small"]


def test_models_get_names_an_unknown_model(project: Path) -> None:
    done = kedro(project, "models", "get", "nonsense")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "Error: model 'nonsense': unknown; models.yml has"
    )


def test_models_get_makes_and_finds_a_model(project: Path, tiny_models: dict[str, Path]) -> None:
    done = kedro(project, "models", "get", "tiny-small", "--env", "smoke")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"tiny-small: {tiny_models['tiny-small']}"
