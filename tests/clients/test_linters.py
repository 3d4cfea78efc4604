"""What Redocly and Spectral say about the OpenAPI document."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tools.clients.install import NODE


def said(node_packages: Path, document: Path, program: str, *arguments: str) -> Any:
    """The JSON that a linter prints about the document."""
    done = subprocess.run(
        [NODE, node_packages / "node_modules" / ".bin" / program, "lint", *arguments, document],
        cwd=document.parent,
        env={"REDOCLY_TELEMETRY": "off", "HOME": str(document.parent), "PATH": str(NODE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    # Their status says only whether there is something to say.
    begin = min(place for place in (done.stdout.find("{"), done.stdout.find("[")) if place >= 0)
    return json.JSONDecoder().raw_decode(done.stdout[begin:])[0]


def is_known(problem: dict[str, Any]) -> bool:
    """Whether a warning of Redocly's is right, and what it is about is meant."""
    pointer: str = problem["location"][0]["pointer"]
    if problem["ruleId"] == "no-ambiguous-paths":
        # An id never is `by-external-id`, and an external id may be `pause`.
        is_about_it = "/connectors/by-external-id/{external_id}" in problem["message"]
        return is_about_it and pointer.startswith("#/paths/~1connectors~1{connector_id}~1")
    # They have nothing to refuse.
    return problem["ruleId"] == "operation-4xx-response" and pointer.startswith("#/paths/~1health~1")


def test_redocly_finds_no_error_and_no_warning_that_is_not_known(
    node_packages: Path, document_file: Path
) -> None:
    report = said(node_packages, document_file, "redocly", "--extends", "recommended", "--format", "json")
    assert report["totals"]["errors"] == 0
    assert [each for each in report["problems"] if not is_known(each)] == []


def test_spectral_finds_nothing(node_packages: Path, document_file: Path) -> None:
    rules = document_file.with_name("spectral.yaml")
    rules.write_text('extends: ["spectral:oas"]\n')
    assert said(node_packages, document_file, "spectral", "--ruleset", str(rules), "--format", "json") == []
