"""All errors that the user of a program can see.

Each error contains the fault and the fix. The command line prints both on one line and exits with ``exit_code``.
Library code raises these errors, and never prints or exits.
"""

from __future__ import annotations


class HemgsError(Exception):
    """Base of all errors that the input causes, not a fault of the program.

    Args:
        message: the fault, with the file, the value found and the values allowed.
        fix: the step that corrects it, as an imperative sentence.
    """

    exit_code = 2

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message if not fix else f"{message} — {fix}")
        self.message = message
        self.fix = fix


class ConfigError(HemgsError):
    """A configuration file, key, value or command-line parameter cannot be used."""


class SceneError(HemgsError):
    """A capture cannot be read, or cannot be trained on (images, cameras, points)."""


class BitstreamError(HemgsError):
    """A file is incomplete, altered, of another version, or not a bitstream."""


class AssetError(HemgsError):
    """A weight file that belongs to the codec or a metric is missing or altered."""


class TrainingError(HemgsError):
    """A training cannot continue (loss not finite, nothing left to train, checkpoint of another training)."""


class DeviceError(HemgsError):
    """The machine lacks something that the run needs (GPU, library, memory, disk space)."""
