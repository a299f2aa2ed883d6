"""Known vulnerabilities of what is installed, by pip-audit; the exit status is 1 where there is one.

A registry that answers no such question, as a mirror may, is told of, and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys

COMMAND = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner", "off", "-f", "json"]


def main() -> int:
    done = subprocess.run(COMMAND, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"Nothing was audited: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
        return 0
    audited = [package for package in packages if "vulns" in package]
    found = [(package, fault) for package in audited for fault in package["vulns"]]
    for package, fault in found:
        fixed = ", ".join(fault["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {fault['id']}, fixed in {fixed}")
    print(f"{len(audited)} of {len(packages)} packages were audited, {len(found)} vulnerabilities found.")
    if not audited:
        print("The registry here tells nothing of vulnerabilities. Run this where the Python Package Index is reached.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
