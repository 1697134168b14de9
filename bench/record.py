#!/usr/bin/env python3
"""Measures the kernels and a model on every target of this machine, and records the results.

    python3 bench/record.py MODEL.glint [--build DIR] [--out DIR] [--name NAME] [-p LIST] [-n N]

Writes bench/results/DATE-CPU-NAME.json (bench/README.md has the form) and replaces an older one of
that name. Takes about five minutes for a model of 6B parameters on two cores. --quick: a trial of
the script, whose figures mean nothing.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run_json(command, target=None):
    """The JSON that a command prints."""
    environment = dict(os.environ)
    environment.pop("GLINT_ISA", None)
    if target:
        environment["GLINT_ISA"] = target
    print((target or "") + ":", " ".join(map(str, command)), file=sys.stderr)
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE)
    if result.returncode != 0:
        sys.exit("record.py: %s failed with status %d" % (command[0], result.returncode))
    return json.loads(result.stdout)


def as_list(value):
    return value if isinstance(value, list) else [value]


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def written(value, indent=""):
    """JSON with an innermost object or list on one line, so that two files can be compared."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(v, (dict, list)) and v for v in inner):
        return json.dumps(value)
    deeper = indent + " "
    if isinstance(value, dict):
        rows = [json.dumps(key) + ": " + written(v, deeper) for key, v in value.items()]
    else:
        rows = [written(v, deeper) for v in value]
    brackets = "{}" if isinstance(value, dict) else "[]"
    body = ",\n".join(deeper + row for row in rows)
    return brackets[0] + "\n" + body + "\n" + indent + brackets[1]


def commit():
    result = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return result.stdout.strip() or "unknown"


def measure_model(arguments, glint, targets):
    """The best target: all lengths, all cores, a profile; one thread; then the other targets."""
    common = [glint, "bench", arguments.model, "-n", str(arguments.tokens), "--json"]
    shortest = arguments.prompts.split(",")[0]
    models = as_list(run_json(common + ["-p", arguments.prompts, "--profile"], targets[0]))
    if models[0]["machine"]["threads"] > 1:
        models += as_list(run_json(common + ["-p", shortest, "-r", "2", "-t", "1"], targets[0]))
    for target in targets[1:]:
        models += as_list(run_json(common + ["-p", shortest, "-r", "2"], target))
    for measurement in models:
        measurement["machine"].pop("system", None)  # said once for the whole file
    return models


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--name", help="what the file's name ends in [the model's name]")
    parser.add_argument("-p", "--prompts", default="256,512,2048")
    parser.add_argument("-n", "--tokens", type=int, default=24)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()

    start = time.time()
    glint = arguments.build / "examples" / "glint"
    kernels = arguments.build / "bench" / "bench_kernels"
    targets = run_json([glint, "info", "--cpu", "--json"])["targets"]
    targets = [target for target in targets if target != "reference"]
    if not targets:
        sys.exit("record.py: this CPU runs none of the targets")
    if arguments.quick:
        targets = targets[:1]

    out = {"commit": commit(), "machine": None, "targets": [], "models": []}
    for target in targets:
        report = run_json([kernels, "--json", "--seconds", "0.1", target]
                          + (["--quick"] if arguments.quick else []))
        out["machine"] = out["machine"] or report["machine"]
        out["targets"] += report["targets"]
    out["models"] = measure_model(arguments, glint, targets)

    name = arguments.name or out["models"][0]["model"]["name"]
    machine = out["machine"]
    file = "-".join([machine["date"][:10], slug(machine["cpu"]), slug(name)]) + ".json"
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / file).write_text(written(out) + "\n")
    print("%s: %.0f s" % (arguments.out / file, time.time() - start), file=sys.stderr)


if __name__ == "__main__":
    main()
