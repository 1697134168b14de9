#!/usr/bin/env python3
"""Size, error, perplexity and accuracy of each type and recipe: the tables of docs/QUANT.md.

    python3 bench/quality.py [--build DIR] [--reference DIR] [--out results.json] [--quick]

Two trained models are small enough to be measured whole: stories260K (reference/trained, perplexity on its 60
windows; calibrated with another text) and the tiny bilingual
model of examples/tiny (held-out questions; calibrated with training questions). Prints Markdown. Everything is
deterministic.
"""
import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TYPES = ["f32", "f16", "int8", "int6", "int4x", "int4", "int3"]
CALIBRATED = ["int6", "int4x", "int4", "int3"]
WINDOW = 256  # tokens, as long as the windows of the perplexity
CALIBRATION_TOKENS = 8192


def run(command):
    result = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if result.returncode != 0:
        sys.exit("quality.py: %s\n%s" % (" ".join(map(str, command)), result.stderr.decode()))
    return result.stdout.decode()


def write_npy(path, rows):
    header = "{'descr': '<i4', 'fortran_order': False, 'shape': (%d, %d), }" % (len(rows), len(rows[0]))
    header += " " * ((54 - len(header)) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        for row in rows:
            f.write(struct.pack("<%di" % len(row), *row))


class Tok512:
    """The tokenizer of tinyllamas: sentencepiece's BPE, merging the pair of the best score first."""

    def __init__(self, path):
        data, at, self.pieces, self.scores = Path(path).read_bytes(), 4, [], []
        while at < len(data):
            score, length = struct.unpack_from("<fi", data, at)
            self.pieces.append(data[at + 8:at + 8 + length])
            self.scores.append(score)
            at += 8 + length
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}

    def encode(self, text):
        ids = [self.ids[c.encode()] for c in " " + text]
        while True:
            pairs = [(self.scores[self.ids[self.pieces[a] + self.pieces[b]]], -i)
                     for i, (a, b) in enumerate(zip(ids, ids[1:])) if self.pieces[a] + self.pieces[b] in self.ids]
            if not pairs:
                return ids
            i = -max(pairs)[1]
            ids[i:i + 2] = [self.ids[self.pieces[ids[i]] + self.pieces[ids[i + 1]]]]


def foreign_text(reference, path):
    """Windows of Shakespeare in the model's tokens: English, but no story that it is measured on."""
    tokenizer = Tok512(reference / "trained/stories260K/tok512.bin")
    text = (reference / "corpora/tinyshakespeare.txt").read_text(encoding="utf-8")
    ids = []
    for word in text[:6 * CALIBRATION_TOKENS].split():
        if all(character.encode() in tokenizer.ids for character in word):
            ids += tokenizer.encode(word)
    own = WINDOW - 1
    rows = [[1] + ids[i:i + own] for i in range(0, len(ids) - own, own)]
    write_npy(path, rows[:CALIBRATION_TOKENS // WINDOW])


def training_text(path, lines=2000):
    """Questions and answers that the tiny model was trained on."""
    sys.path.insert(0, str(ROOT / "examples/tiny"))
    import corpus
    built = corpus.build()[0]
    rng = random.Random(1)
    with open(path, "w", encoding="utf-8") as f:
        for _ in range(lines):
            example = built.training_example(rng)
            f.write(example.question + "\n" + example.answer + "\n")


def variants(quick):
    for name in TYPES:
        yield name, "fast"
        if name in CALIBRATED and not (quick and name != "int4"):
            yield name, "balanced"
            yield name, "best"


def convert(glint, source, out, dtype, recipe, calibration):
    command = [glint, "convert", source, "-o", out, "--force", "--type", dtype, "--recipe", recipe]
    if recipe != "fast":
        command += ["--calibrate", calibration]
    run(command)


def measure(glint, source, work, calibration, quick, more):
    rows = []
    for dtype, recipe in variants(quick):
        model = work / "model.glint"
        convert(glint, source, model, dtype, recipe, calibration)
        report = json.loads(run([glint, "quantize-report", model, "--base", source, "--json"]))
        row = {"type": dtype, "recipe": recipe, "bytes": model.stat().st_size, "total": report["total"]}
        row.update(more(model))
        rows.append(row)
        print(json.dumps(row), file=sys.stderr)
    return rows


def stories_table(rows):
    base = next(r for r in rows if r["type"] == "f32")["perplexity"]
    fast = {r["type"]: r["perplexity"] for r in rows if r["recipe"] == "fast"}
    print("| type | recipe | bits | relative RMSE | perplexity | loss | of fast's | KL mean | same top |")
    print("|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        loss, of = r["perplexity"] - base, fast[r["type"]] - base
        share = "" if r["recipe"] == "fast" else "%.0f%%" % (100 * loss / of)
        print("| %s | %s | %.2f | %.4f | %.4f | %.2f%% | %s | %.5f | %.1f%% |" % (
            r["type"], r["recipe"], r["total"]["bits"], r["total"]["relative_rmse"], r["perplexity"],
            100 * loss / base, share, r["kl_mean"], 100 * r["same_top"]))


def questions_table(rows):
    print("| type | recipe | bits | relative RMSE | right | accuracy |")
    print("|---|---|---|---|---|---|")
    for r in rows:
        print("| %s | %s | %.2f | %.4f | %d of %d | %.1f%% |" % (
            r["type"], r["recipe"], r["total"]["bits"], r["total"]["relative_rmse"], r["right"], r["questions"],
            100 * r["accuracy"]))


def one_per_line(figures):
    """JSON of which every measurement is a line, so that two files can be compared."""
    parts = []
    for name, rows in figures.items():
        lines = [json.dumps({key: value for key, value in row.items() if key not in ("model", "groups")})
                 for row in rows]
        parts.append("%s: [\n%s\n]" % (json.dumps(name), ",\n".join(lines)))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"), help="build folder")
    parser.add_argument("--reference", default=str(ROOT.parent / "shared/reference"), help="golden outputs")
    parser.add_argument("--out", help="write the figures there as JSON too")
    parser.add_argument("--quick", action="store_true", help="recipes of int4 alone")
    args = parser.parse_args()
    glint = Path(args.build) / "examples/glint"
    questions = Path(args.build) / "bench/bench_questions"
    trained = Path(args.reference) / "trained/stories260K"
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if trained.is_dir():
            base, windows = work / "base.glint", work / "windows.npy"
            convert(glint, trained, base, "f32", "fast", "")
            foreign_text(Path(args.reference), windows)

            def perplexity(model):
                return json.loads(run([glint, "perplexity", model, "--windows", trained / "ppl/windows.npy", "--base",
                                       base, "--json"]))
            figures["stories260K"] = measure(glint, trained, work, windows, args.quick, perplexity)
            stories_table(figures["stories260K"])
            print()
        else:
            print("quality.py: %s is not there: no perplexities" % trained, file=sys.stderr)
        text = work / "training.txt"
        training_text(text)

        def accuracy(model):
            return json.loads(run([questions, model, ROOT / "examples/tiny/questions.jsonl"]))
        figures["tiny"] = measure(glint, ROOT / "examples/tiny/model", work, text, args.quick, accuracy)
        questions_table(figures["tiny"])
    if args.out:
        Path(args.out).write_text(one_per_line(figures))


if __name__ == "__main__":
    main()
