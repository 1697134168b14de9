"""The exact-answer rate of the exported model on questions.jsonl, greedy, in f32 on the f16 weights.

    python3 evaluate.py [--type int4|int8] [--questions FILE] [--wrong]

--type imitates quantized weights and activations in torch (quant.py): a first measure, the library's own numbers count.
"""
import argparse
import contextlib
import os

import torch

from hf import load_folder
from quant import quantized, rounded_embedding
from text import HERE, Tokenizer, accuracy, read_questions


def print_table(table):
    families = sorted({family for family, _ in table})
    print("| family | English | Chinese |\n|---|---|---|")
    for family in families:
        print("| %s | %s | %s |" % (family, *("%d/%d" % tuple(table[family, lang]) for lang in ("en", "zh"))))
    totals = [tuple(sum(v[i] for k, v in table.items() if k[1] == lang) for i in (0, 1)) for lang in ("en", "zh")]
    print("| **all** | %s | %s |" % tuple("%d/%d (%.1f%%)" % (r, n, 100 * r / n) for r, n in totals))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--type", choices=["f32", "int8", "int4"], default="f32")
    parser.add_argument("--questions", default=os.path.join(HERE, "questions.jsonl"))
    parser.add_argument("--wrong", action="store_true", help="print the wrong answers")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = load_folder(os.path.join(HERE, "model"))
    with contextlib.ExitStack() as stack, torch.no_grad():
        if args.type != "f32":
            stack.enter_context(rounded_embedding(model))
            stack.enter_context(quantized(model, args.type))
        exact, table, wrong = accuracy(model, Tokenizer(), read_questions(args.questions))
    if args.wrong:
        for q, given in wrong:
            print("%s | %s | %s | right: %s | given: %s" % (q["id"], q["history"], q["question"], q["answer"], given))
    print_table(table)
    print("%s: %.2f%% of %d exact" % (args.type, 100 * exact, sum(n for _, n in table.values())))


if __name__ == "__main__":
    main()
