"""Settings: one TOML file and the environment, parsed once into frozen structs.

An unknown key or a value of the wrong kind refuses to start, with the key's name. Each key may be overridden
by `MAILWARD_<TABLE>_<KEY>` in the environment, or read from the file that `MAILWARD_<TABLE>_<KEY>_FILE` names
(for secrets). docs/settings.md describes every key; a test holds the two together.
"""

from mailward.config.load import SettingsError, load_settings, unknown_variables
from mailward.config.observing import Log, Metrics, Tracing
from mailward.config.sending import Sender, Tlsrpt
from mailward.config.serving import (
    Backup,
    Certificates,
    Console,
    Database,
    Dns,
    Nameserver,
    PolicyHost,
    Relay,
    Reports,
)
from mailward.config.settings import Settings
from mailward.config.watching import Doctor, Follow, Problems, Watch

__all__ = [
    "Backup",
    "Certificates",
    "Console",
    "Database",
    "Dns",
    "Doctor",
    "Follow",
    "Log",
    "Metrics",
    "Nameserver",
    "PolicyHost",
    "Problems",
    "Relay",
    "Reports",
    "Sender",
    "Settings",
    "SettingsError",
    "Tlsrpt",
    "Tracing",
    "Watch",
    "load_settings",
    "unknown_variables",
]
