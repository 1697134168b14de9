#!/usr/bin/env python3
"""What look-up decoding (--lookup) drafts, how much of it holds, and what that is worth.

usage: lookup.py [--glint PROGRAM] [--bench-lookup PROGRAM] [--model MODEL] [-n QUESTIONS]
                 [-t THREADS] [--reference FOLDER] [--batches FILE] [-o RESULTS.json]

First part: `glint generate --json` with and without --lookup, greedy and drawn, over prompts of three
classes that the tiny model understands. The texts must be the same; if one is not, the script says
so and fails. The speed-up is of the fastest of three rounds, summed over the prompts. It says little
about a large model: the tiny one stays in the caches, where a token of a batch costs half a run, and
its replies are a few tokens of 50 us, in a program that has just begun.

Second part, with --reference (a folder that holds corpora/ and tokenizers/chatglm1): no model. Texts
that people wrote are taken as replies, and bench_lookup counts how many of their tokens the drafts would
have foreseen: the changed files of this repository's commits after the old ones, the leads of
encyclopedia articles after their bodies, and passages of prose after what comes before them. With
--batches, a file that `bench_batch MODEL` has printed, the speed-up that follows for that model.

The standard library alone is needed. Texts of models with random weights repeat themselves without
end, so their acceptance would mean nothing; they are not used here.
"""
import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLASSES = {  # families of examples/tiny/questions.jsonl
    "copying": ["copy", "member"],
    "rewriting": ["translate", "spell", "number", "opposite"],
    "plain chat": ["chat", "capital", "colour", "category", "compare", "arithmetic", "sequence",
                   "unknown", "follow-up"],
}
ROUNDS = 3
SAMPLERS = {"greedy": ["--temp", "0"], "drawn": ["--temp", "0.95", "--seed", "7"]}


def run(command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"lookup.py: {' '.join(map(str, command[:3]))}: {done.stderr.strip()}")
    return done.stdout


def chat_prompt(history, question):
    """As lib/text/chat.cc builds it."""
    if not history:
        return question
    rounds = [f"[Round {i}]\n\u95ee\uff1a{q}\n\u7b54\uff1a{a}\n" for i, (q, a) in enumerate(history)]
    return "".join(rounds) + f"[Round {len(history)}]\n\u95ee\uff1a{question}\n\u7b54\uff1a"


def prompts(n):
    """At most n prompts for each class, as many of each family as there are."""
    rows = [json.loads(line) for line in (ROOT / "examples/tiny/questions.jsonl").open()]
    for name, families in CLASSES.items():
        lists = [[r for r in rows if r["family"] == family] for family in families]
        taken = [r for turn in zip_longest(lists) for r in turn][:n]
        yield name, [chat_prompt(r["history"], r["question"]) for r in taken]


def zip_longest(lists):
    for i in range(max(map(len, lists))):
        yield [rows[i] for rows in lists if i < len(rows)]


def generate(options, prompt, sampler, lookup):
    command = [options.glint, "generate", options.model, "-p", "-", "--json", "-n", "64", *sampler]
    if options.threads:
        command += ["-t", options.threads]
    command += ["--lookup"] if lookup else []
    replies = [json.loads(run(command, prompt)) for _ in range(ROUNDS)]
    return max(replies, key=lambda reply: reply["reply_tokens_per_s"])


def model_part(options):
    results = []
    for name, texts in prompts(options.questions):
        for sampler, arguments in SAMPLERS.items():
            total = {"tokens": 0, "drafted": 0, "accepted": 0, "runs": 0}
            plain_seconds = lookup_seconds = 0
            for prompt in texts:
                plain = generate(options, prompt, arguments, False)
                with_lookup = generate(options, prompt, arguments, True)
                for key in ("text", "ids", "end"):
                    if plain[key] != with_lookup[key]:
                        sys.exit(f"lookup.py: {key} differs with --lookup for {prompt!r}")
                total["tokens"] += len(plain["ids"])
                for key in ("drafted", "accepted", "runs"):
                    total[key] += with_lookup["lookup"][key]
                if plain["ids"]:
                    plain_seconds += len(plain["ids"]) / plain["reply_tokens_per_s"]
                    lookup_seconds += len(plain["ids"]) / with_lookup["reply_tokens_per_s"]
            results.append({"class": name, "sampler": sampler, "prompts": len(texts), **total,
                            "speed_up": round(plain_seconds / lookup_seconds, 3)})
            show(f"{name}, {sampler}", results[-1],
                 f"same texts; speed-up {results[-1]['speed_up']:.2f}")
    return results


def git(*arguments):
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def edited_files():
    """Each file that a commit changed, after its old form and the commit's message."""
    for commit in git("rev-list", "HEAD").split():
        names = git("diff", "--diff-filter=M", "--name-only", commit + "^", commit).split()
        message = git("log", "-1", "--format=%B", commit)
        for name in names:
            if not re.search(r"\.(cc|h|py|sh|md|build)$", name):
                continue
            old, new = git("show", f"{commit}^:{name}"), git("show", f"{commit}:{name}")
            if 500 < len(new) < 12000 and len(old) < 12000:
                yield f"{old}\n\nChange {name}: {message}\n", new


def summaries(corpora):
    """The lead of each article after its body."""
    articles = re.split(r"\n = ([^=\n]+) = \n", (corpora / "wikitext-2-test.txt").read_text())
    for article in articles[2::2]:
        lead, _, body = article.partition("\n = = ")
        if len(lead) > 200 and body:
            yield body[:8000] + "\nSummarize the text above.\n", lead.strip()[:2000]


def prose(corpora):
    """Passages after what comes before them, English and Chinese."""
    for name, step in (("botchan.txt", 4000), ("tinystories-valid-sample.txt", 4000),
                       ("lunyu.txt", 1500)):
        text = (corpora / name).read_text()
        for i in range(0, min(len(text) - step, step * 15), step):
            yield text[i:i + step * 3 // 5], text[i + step * 3 // 5:i + step]


def batch_costs(path):
    """Cost of a batch of 1, 2, ... tokens in single tokens, sizes between the measured ones by line."""
    measured = {b["tokens"]: b["relative"] for b in json.loads(Path(path).read_text())["batches"]}
    sizes = sorted(measured)
    costs = []
    for n in range(1, sizes[-1] + 1):
        low = max(s for s in sizes if s <= n)
        high = min(s for s in sizes if s >= n)
        part = 0 if low == high else (n - low) / (high - low)
        costs.append(measured[low] + part * (measured[high] - measured[low]))
    return costs


def replay_part(options):
    corpora = Path(options.reference) / "corpora"
    tokenizer = Path(options.reference) / "tokenizers/chatglm1"
    costs = batch_costs(options.batches) if options.batches else None
    results = []
    for name, pairs in (("code editing", edited_files()), ("summarizing", summaries(corpora)),
                        ("prose", prose(corpora))):
        lines = "".join(json.dumps(text) + "\n" for pair in pairs for text in pair)
        ids = run([options.glint, "tokenize", tokenizer], lines)
        result = json.loads(run([options.bench_lookup], ids))
        text = ""
        if costs and len(costs) >= len(result["runs_of"]):
            time = sum(n * cost for n, cost in zip(result["runs_of"], costs))
            result["speed_up"] = round(result["tokens"] / time, 3)
            text = f"speed-up {result['speed_up']:.2f}"
        results.append({"class": name, **result})
        show(name, result, text)
    return results


def show(title, result, text):
    share = result["accepted"] / max(1, result["drafted"])
    print(f"{title:20} {result['tokens']:7} tokens, {result['drafted']:7} drafted, "
          f"{100 * share:5.1f}% of them accepted, "
          f"{result['tokens'] / max(1, result['runs']):5.2f} tokens a run  {text}", flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    build = ROOT / "build"
    parser.add_argument("--glint", default=build / "examples/glint")
    parser.add_argument("--bench-lookup", default=build / "bench/bench_lookup")
    parser.add_argument("--model", default="builtin")
    parser.add_argument("-n", "--questions", type=int, default=40)
    parser.add_argument("-t", "--threads")
    parser.add_argument("--reference")
    parser.add_argument("--batches")
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    results = {"machine": json.loads(run([options.glint, "info", "--cpu", "--json"])),
               "commit": git("rev-parse", "HEAD").strip(),
               "model": options.model, "generated": model_part(options)}
    if options.batches:
        results["batches"] = json.loads(Path(options.batches).read_text())
    if options.reference:
        results["replayed"] = replay_part(options)
    if options.output:
        Path(options.output).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
