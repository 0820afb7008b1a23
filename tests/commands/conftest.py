from collections.abc import Iterator

import pytest
from hub_server import TOKEN, HubServer, serve_hub
from huggingface_hub import constants


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub, which the library of this process takes for the one."""
    with serve_hub() as server:
        # As HF_ENDPOINT and HF_HUB_DISABLE_XET set them when it is imported.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server
