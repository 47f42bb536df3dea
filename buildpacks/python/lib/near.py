"""Reads uv's list of Python builds and prints the newest that fits a request (3.13, 3.13.5).

If none does, it prints to standard error those near it and ends with 3.
"""

import json
import sys


def number(text):
    return tuple(int(part) for part in text.split("."))


def main():
    wanted = number(sys.argv[1])
    known = set()
    for build in json.load(sys.stdin):
        plain = build["implementation"] == "cpython" and build["variant"] == "default"
        version = build["version"]
        # Pre-releases have letters in them; nobody gets one without a wish for it.
        if plain and build["libc"] == "gnu" and version.replace(".", "").isdigit():
            known.add(number(version))
    fitting = [version for version in known if version[: len(wanted)] == wanted]
    if fitting:
        print(".".join(map(str, max(fitting))))
        return 0
    same_line = sorted((v for v in known if v[:2] == wanted[:2]), reverse=True)
    if len(wanted) > 2:
        same_line.sort(key=lambda version: abs(version[2] - wanted[2]))
    newest = {}
    for version in known:
        newest[version[:2]] = max(version, newest.get(version[:2], version))
    lines = sorted(newest, key=lambda line: abs(line[1] - wanted[1]) + 100 * abs(line[0] - wanted[0]))
    near = sorted(set(same_line[:5] or (newest[line] for line in lines[:4])))
    print(", ".join(".".join(map(str, version)) for version in near) or "none", file=sys.stderr)
    return 3


sys.exit(main())
