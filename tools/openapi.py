"""Write each service's OpenAPI document to docs/api, from its code; `--check` compares instead."""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

FOLDER = Path("docs/api")
SERVICES = ("gateway", "issuer", "jobs", "outputs")


def document(service: str) -> str:
    """Build the service's application without anything behind it, and render its document."""
    app = importlib.import_module(f"{service}.app").create_app(MagicMock())
    with app.app_context():
        spec: dict[str, Any] = app.extensions["openapi"].to_dict()
    return json.dumps(spec, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a committed document is not current")
    check = parser.parse_args().check
    stale = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for service in SERVICES:
        path, text = FOLDER / f"{service}.json", document(service)
        if check and (not path.exists() or path.read_text() != text):
            stale.append(str(path))
        if not check:
            path.write_text(text)
    if stale:
        sys.exit(f"Not current: {', '.join(stale)}. Run: make openapi")
    print(f"OpenAPI documents: {'current' if check else 'written to ' + str(FOLDER)}")


if __name__ == "__main__":
    main()
