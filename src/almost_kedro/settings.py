"""Kedro settings of the project."""

import warnings

from almost_kedro.hooks.lock import LockHook
from almost_kedro.hooks.manifest import ManifestHook
from almost_kedro.hooks.options import OptionsHook
from almost_kedro.hooks.programs import ProgramsHook
from almost_kedro.hooks.run_record import RunRecordHook
from almost_kedro.hooks.signals import SignalHook
from almost_kedro.hooks.summary import SummaryHook
from almost_kedro.hooks.tracking import TrackingHook

# Kedro's use of omegaconf, and its new name for `--pipeline`: nothing that a user can mend.
warnings.filterwarnings("ignore", message="register_new_resolver", category=UserWarning)
warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")

HOOKS = (
    OptionsHook(),
    SignalHook(),
    LockHook(),
    TrackingHook(),
    ManifestHook(),
    RunRecordHook(),
    SummaryHook(),
    ProgramsHook(),
)

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # models.yml is a file of parameters with a name that says what is in it.
    "config_patterns": {
        "parameters": ["parameters*", "parameters*/**", "**/parameters*", "models*"],
    },
    # An environment or `--params a.b=1` changes one key and keeps its siblings.
    "merge_strategy": {"parameters": "soft", "credentials": "soft"},
}
