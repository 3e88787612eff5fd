"""Holds counts of instructions against those written down: NEW OLD [--record]."""

import json
import sys

TOLERANCE = 0.03


def read(path):
    """What gungraun says: a JSON document a benchmark."""
    counts = {}
    with open(path) as lines:
        for line in filter(None, map(str.strip, lines)):
            summary = json.loads(line)
            name = "::".join(filter(None, [summary["function_name"], summary.get("id")]))
            counts[name] = instructions(summary)
    return counts


def instructions(summary):
    for profile in summary["profiles"]:
        if profile["tool"] == "Callgrind":
            return profile["data"]["total"]["metrics"]["Ir"]["values"]["new"]
    sys.exit(f"{summary['function_name']}: nobody counted its instructions")


new_path, old_path, *options = sys.argv[1:]
new = read(new_path)
if not new:
    sys.exit(f"{new_path} has no counts in it")
if options == ["--record"]:
    with open(old_path, "w") as out:
        json.dump(new, out, indent=2, sort_keys=True)
        out.write("\n")
    print(f"{len(new)} counts are written down in {old_path}")
    sys.exit()
with open(old_path) as recorded:
    old = json.load(recorded)
wrong = sorted(set(old) ^ set(new))
for name in sorted(set(old) & set(new)):
    change = new[name] / old[name] - 1
    print(f"{name:24} {new[name]:>13} {change:+8.2%}")
    if change > TOLERANCE:
        wrong.append(name)
if wrong:
    sys.exit(
        f"over {TOLERANCE:.0%} more than is written down, or not in both: {', '.join(wrong)}; "
        "if it has to be so, .ci/instructions --record"
    )
