#!/usr/bin/env python3
"""Reports which of Kubernetes' tests injection breaks, from the reports of ginkgo.

| without injection | with injection | in expected-failures.toml | verdict |
|---|---|---|---|
| not run, or passed | passed | no | fine |
| not run, or passed | failed | yes | fine |
| not run, or passed | failed | no | wrong: injection breaks it |
| any | passed | yes | wrong: remove the entry |
| failed | any | no | fine: the node lacks something, such as an image |
| failed | not run | any | wrong: it was the only run |
"""

import argparse
import json
import pathlib
import re
import sys
import tomllib

EXPECTED = pathlib.Path(__file__).parent / "expected-failures.toml"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--direct", nargs="+", default=[], metavar="FILE", help="reports of a run without injection")
    parser.add_argument("--injected", nargs="+", default=[], metavar="FILE", help="reports of a run with injection")
    parser.add_argument("--expected", metavar="FOCUS", help="print a pattern for each expected failure that FOCUS selects")
    options = parser.parse_args()
    expected = tomllib.loads(EXPECTED.read_text())
    if options.expected is not None:
        # Go's regular expressions do not allow escaped spaces.
        selected = [name for name in expected if re.search(options.expected, name)]
        print("".join(f"{re.escape(name)}\n".replace("\\ ", " ") for name in selected), end="")
        return 0
    direct, injected = results(options.direct), results(options.injected)
    wrong = []
    if not options.injected:
        wrong += [f"failed: {name}: {message}" for name, message in direct.items() if message]
    for name, message in sorted(injected.items()):
        if message and name in expected:
            print(f"fails as expected ({expected[name]}): {name}")
        elif message and direct.get(name):
            print(f"fails without injection, too: {name}: {direct[name]}")
        elif message:
            wrong.append(f"fails with injection: {name}: {message}")
        elif name in expected:
            wrong.append(f"passes, though it is an expected failure ({expected[name]}): remove it from {EXPECTED.name}: {name}")
        elif direct.get(name):
            print(f"fails without injection only: {name}: {direct[name]}")
    for mode, tests in (("without", direct), ("with", injected)):
        if tests:
            failed = sum(message is not None for message in tests.values())
            print(f"{mode} injection: {len(tests) - failed} of {len(tests)} tests passed")
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    return 1 if wrong else 0


def results(files):
    """Every test that ran, by name, with the message of its failure, or None where it passed."""
    tests = {}
    for file in files:
        specs = [spec for suite in json.loads(pathlib.Path(file).read_text()) for spec in suite["SpecReports"]]
        for spec in specs:
            name = " ".join([*(spec["ContainerHierarchyTexts"] or []), spec["LeafNodeText"]])
            message = None if spec["State"] == "passed" else first_line(spec)
            if spec["LeafNodeType"] == "It" and spec["State"] not in ("skipped", "pending"):
                tests[name] = message
            elif spec["LeafNodeType"] != "It" and message and spec["State"] != "skipped":
                sys.exit(f"{file}: {spec['LeafNodeType']} failed: {message}")
    if files and not tests:
        sys.exit(f"{' and '.join(files)}: no test ran; does the focus match a test?")
    return tests


def first_line(spec):
    message = spec.get("Failure", {}).get("Message") or spec["State"]
    return message.strip().splitlines()[0][:300]


if __name__ == "__main__":
    sys.exit(main())
