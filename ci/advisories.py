"""Say what pip-audit found about the pinned packages, and what it could not look up: that is no clean bill."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(path: str) -> int:
    """Return 0 where every package was looked up and none is vulnerable, 1 where one is, 3 where some were not."""
    if not Path(path).is_file():
        print("advisories: no database was reached; nothing was checked.")
        return 3
    listed = json.loads(Path(path).read_text(encoding="utf-8"))["dependencies"]
    skipped = [one["name"] for one in listed if "skip_reason" in one]
    for one in listed:
        for found in one.get("vulns", []):
            print(
                f"{one['name']} {one['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none'}"
            )
    vulnerable = sum(bool(one.get("vulns")) for one in listed)
    print(f"advisories: {len(listed) - len(skipped)} of {len(listed)} packages looked up, {vulnerable} vulnerable.")
    if skipped:
        print(f"advisories: not in the database that was reached: {', '.join(skipped[:8])}...")
    return 1 if vulnerable else 3 if skipped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
