"""Writes docs/errors.md: `python -m tools.errors`."""

from pathlib import Path

from app import error_guide

if __name__ == "__main__":
    page = Path(__file__).resolve().parents[1] / "docs" / "errors.md"
    page.write_text(error_guide.markdown(), encoding="utf-8")
