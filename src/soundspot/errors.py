"""Everything that can go wrong, as one tree.

    SoundspotError
    |-- MediaError        a picture, sound or video cannot be read or written
    |-- DataError         a data set's lists or truth break their format
    |   `-- ManifestError a manifest (JSON Lines) breaks its format
    |-- CheckpointError   a checkpoint is of another kind, version, or cut short
    |-- ModelError        a model breaks a law of `soundspot.similarity`
    |-- MethodError       a localization method cannot work on this model
    |-- OptionError       an unknown name, or a value outside its range
    `-- TrainingError     training cannot start or go on

Every message is one line and says which file or value, what is wrong, and what would work.
The command line prints it and exits with code 2.
"""


class SoundspotError(Exception):
    """Any error that soundspot raises on purpose."""


class MediaError(SoundspotError):
    """A picture, sound or video cannot be read or written."""


class DataError(SoundspotError):
    """A data set's lists or truth break their format; the message names file and line."""


class ManifestError(DataError):
    """A manifest breaks its format; the message names file and line."""


class CheckpointError(SoundspotError):
    """A checkpoint is missing, of another kind or version, or cut short."""


class ModelError(SoundspotError):
    """A model breaks one of the laws of similarity models."""


class MethodError(SoundspotError):
    """A localization method cannot work on this model; the message names one that can."""


class OptionError(SoundspotError):
    """An unknown name, or an option's value outside its range."""


class TrainingError(SoundspotError):
    """Training cannot start or go on; the message says what was kept."""
