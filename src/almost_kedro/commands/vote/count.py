"""`kedro vote --count`: reads votes files, resolves them by the keys of the data root, counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kedro.framework.context import KedroContext
from kedro.io import AbstractVersionedDataset, DataCatalog, DatasetError, Version
from pydantic import TypeAdapter, ValidationError
from rich.text import Text

from almost_kedro.commands.terminal import draw_table, open_console
from almost_kedro.commands.vote.command import KEY, METRICS, lock_root
from almost_kedro.datasets.whole_file import WholeFileDataset
from almost_kedro.errors import UserError
from almost_kedro.evaluation.vote_counts import Ballot, count_votes, keep_newest
from almost_kedro.pages.report.human_votes import tabulate_human_votes
from almost_kedro.rows.evaluation_metrics import HumanVotesMetrics
from almost_kedro.rows.human_votes import VoteKey, VotesFile
from almost_kedro.rows.visible_text import make_line


def count_files(context: KedroContext, paths: Sequence[Path]) -> None:
    """Print and keep what people voted, for each page that the files are of.

    Raises UserError for a file that is no votes file, of a page that this data root did not make,
    or without votes; and if one name stands for two browsers.
    """
    if not paths:
        raise UserError("--count: give the files that the voters saved")
    catalog, parameters = context.catalog, context.config_loader["parameters"]
    assert isinstance(catalog, DataCatalog)
    ballots = [read_ballot(path) for path in paths]
    kept = keep_newest(ballots)
    pages: dict[str, list[Ballot]] = {}
    for ballot in kept:
        pages.setdefault(ballot.content["page"], []).append(ballot)
    with lock_root(parameters):
        metrics = HumanVotesMetrics(
            pages=[
                count_votes(find_key(catalog, each[0]), each, parameters["seed"])
                for each in pages.values()
            ]
        )
        catalog.save(METRICS, metrics)
    console = open_console()
    if len(kept) < len(ballots):
        older = len(ballots) - len(kept)
        console.print(
            Text(f"{older} older or equal: the same browser saved again, and the newest counts")
        )
    for table in tabulate_human_votes(metrics):
        console.print(draw_table(table))
    dataset = catalog.get(METRICS)
    assert isinstance(dataset, WholeFileDataset)
    console.print(Text(f"\nkept for the report: {make_line(str(dataset.load_path()))}"))


def read_ballot(path: Path) -> Ballot:
    """Read what a voter saved; raise UserError if it is anything else."""
    name = make_line(str(path))
    try:
        content = TypeAdapter(VotesFile).validate_json(path.read_bytes())
    except OSError as exc:
        raise UserError(f"{name}: could not be read: {exc.strerror or exc}") from exc
    except ValidationError as exc:
        error = exc.errors()[0]
        where = make_line(".".join(map(str, error["loc"])))
        raise UserError(
            f"{name}: no votes file: {f'{where}: ' if where else ''}{error['msg']}; give a file "
            "that the page of `kedro vote` saved"
        ) from exc
    return Ballot(name, content)


def find_key(catalog: DataCatalog, ballot: Ballot) -> VoteKey:
    """Find the newest key of a ballot's page; raise UserError if there is none."""
    dataset = catalog.get(KEY)
    assert isinstance(dataset, AbstractVersionedDataset)
    try:
        versions = dataset.list_versions(full_path=False)
    except DatasetError:
        versions = []
    for version in versions:  # the newest comes first
        found = catalog.get(KEY, version=Version(version, None))
        assert found is not None
        key: VoteKey = found.load()
        if key["page"] == ballot.content["page"]:
            return key
    raise UserError(
        f"{ballot.name}: votes on page {ballot.content['page']!r:.20}, which is not from this data "
        "root; count with the --env (and data_root) with which the page was made"
    )
