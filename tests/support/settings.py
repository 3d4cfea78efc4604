"""The path of the repository, and a function that makes settings for a test."""

from collections.abc import Callable
from pathlib import Path

from app.config import Settings

ROOT = Path(__file__).resolve().parents[2]

SettingsFactory = Callable[..., Settings]
"""`settings(lease_s=1)` makes settings for the test's database; the names override."""
