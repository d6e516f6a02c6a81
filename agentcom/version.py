"""The version of this installation."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("agentcom")
except PackageNotFoundError:  # a checkout that was not installed
    VERSION = "0"
