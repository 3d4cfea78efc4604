"""Lists the differences between our reading of mails and the standard library's that nobody has judged yet.

`python -m tools.agreement FOLDER` prints them. With `--write` it adds them to tests/data/agreement.json with `?`; a person
then replaces it by `ours`, `theirs` or `both`, with the reason. `--all` also lists the judged ones.
"""

import argparse
import json
from pathlib import Path

from tools.agreement.compare import GRAVE
from tools.agreement.survey import Found, survey
from tools.agreement.verdicts import FILE, known_verdicts, listed


def main() -> None:
    """Survey a folder and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="what is judged, too")
    parser.add_argument("--write", action="store_true", help="add what is not judged to the file")
    arguments = parser.parse_args()
    verdicts = known_verdicts()
    for found in survey(arguments.folder):
        if arguments.all or found.verdict is None:
            print(_told(found))
        if found.verdict is None:
            verdicts.setdefault(found.sha256, {})[found.disagreement.field] = ("?", _told(found))
    if arguments.write:
        text = json.dumps(verdicts, ensure_ascii=False, indent=1, sort_keys=True)
        FILE.write_text(text + "\n", encoding="utf-8")


def _told(found: Found) -> str:
    each = found.disagreement
    grave = "GRAVE " if each.field in GRAVE else ""
    right = f" [{found.verdict[0]}: {found.verdict[1]}]" if found.verdict else ""
    return f"{grave}{found.path.name} {each.field}: ours {listed(each.ours)}, theirs {listed(each.theirs)}{right}"


if __name__ == "__main__":
    main()
