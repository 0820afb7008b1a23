"""The workplace: loading it makes no folder and shows no key."""

from pathlib import Path

from almost_kedro.datasets.workplace import WorkplaceDataset

NAMES = ("models", "generation", "training", "evaluation", "accelerate")


def test_what_only_looks_makes_no_folder_and_sees_no_key(tmp_path: Path) -> None:
    folders = {name: {"path": str(tmp_path / name)} for name in NAMES}
    dataset = WorkplaceDataset(**folders, credentials={"mine": "sk-secret", "none": None})
    place = dataset.load()
    assert [getattr(place, name) for name in NAMES] == [tmp_path / name for name in NAMES]
    assert list(tmp_path.iterdir()) == []
    assert set(place.keys) == {"mine"}
    assert "sk-secret" not in f"{place} {dataset}"
