"""API keys of servers, out of credentials.yml; never saved, shown or logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from pydantic import SecretStr


class ServerKeysDataset(AbstractDataset[None, dict[str, SecretStr]]):
    """Keys by name; what has no value is left out.

    YAML:
        server_keys:
          type: almost_kedro.datasets.server_keys.ServerKeysDataset
          credentials: servers

    In credentials.yml:
        servers:
          default: ${oc.env:ALMOST_KEDRO_API_KEY, null}
    """

    def __init__(
        self,
        *,
        credentials: Mapping[str, str | None] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Take the keys."""
        self._keys = {name: SecretStr(key) for name, key in (credentials or {}).items() if key}
        self.metadata = metadata

    def load(self) -> dict[str, SecretStr]:
        """Return the keys by name; their values show only when asked for."""
        return dict(self._keys)

    def save(self, data: None) -> None:
        """Refuse."""
        raise DatasetError("keys are set in credentials.yml, not saved")

    def _describe(self) -> dict[str, Any]:
        return {"names": sorted(self._keys)}
