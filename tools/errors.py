"""Writes docs/errors.md: `python -m tools.errors`."""

from pathlib import Path

from app.error_guide import page

if __name__ == "__main__":
    file = Path(__file__).resolve().parents[1] / "docs" / "errors.md"
    file.write_text(page.markdown(), encoding="utf-8")
