"""Every error a user can meet.

Each contains the fault and the fix. The command line prints both on one line and exits with ``exit_code``. Library code
raises these errors, and never prints or exits.
"""

from __future__ import annotations


class HemgsError(Exception):
    """Base of all errors that are the input's fault, not the program's.

    Args:
        message: what is wrong: the file, the value that was found, the values allowed.
        fix: what the reader can do about it, as an imperative sentence.
    """

    exit_code = 2

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message if not fix else f"{message} — {fix}")
        self.message = message
        self.fix = fix


class ConfigError(HemgsError):
    """A configuration file, key, value or command-line parameter that cannot be used."""


class SceneError(HemgsError):
    """A capture that cannot be read or is not fit for training (images, cameras, points)."""


class BitstreamError(HemgsError):
    """A bitstream that is cut, altered, of another version, or not a bitstream at all."""


class AssetError(HemgsError):
    """A weight file that belongs to the codec or a metric is missing or altered."""


class TrainingError(HemgsError):
    """A training that cannot go on (loss not finite, nothing left to train, foreign checkpoint)."""


class DeviceError(HemgsError):
    """The machine lacks what was asked for (GPU, library, memory, disk space)."""
