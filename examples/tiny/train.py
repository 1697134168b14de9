"""Trains the tiny model on the CPU. Seeded; stops and resumes anywhere.

    python3 train.py --work WORKDIR --steps 9000       continues from WORKDIR/checkpoint.pt if there is one

The learning rate warms up, then falls to zero by the end of --steps. In the last part of the training (--quantize) half of
the steps run with the weights rounded to int4, so that the finished model stands being quantized.
"""
import argparse
import math
import os
import random
import time

import torch

from corpus import build, write_questions
from model import ChatGLM, Config
from quant import quantized
from text import Tokenizer, accuracy, read_questions

POOL = 2048  # examples drawn at a time, then sorted by length into batches


class Batches:
    """An endless, seeded stream of batches; batch k of pool p depends on the seed, p and k alone."""

    def __init__(self, corpus, tokenizer, seed, tokens):
        self.corpus, self.tokenizer, self.seed, self.tokens = corpus, tokenizer, seed, tokens
        self.pool, self.queue = 0, []

    def encode(self, example):
        prompt = self.tokenizer.prompt(example.history, example.question)
        return len(prompt) - 1, prompt + self.tokenizer.encode(example.answer) + [self.tokenizer.eop]

    def refill(self):
        rng = random.Random("%d/%d" % (self.seed, self.pool))
        self.pool += 1
        rows = [self.encode(self.corpus.training_example(rng)) for _ in range(POOL)]
        rows.sort(key=lambda row: (len(row[1]), rng.random()))
        batch = []
        for row in rows:
            if batch and len(row[1]) * (len(batch) + 1) > self.tokens:
                self.queue.append(batch)
                batch = []
            batch.append(row)
        self.queue.append(batch)
        rng.shuffle(self.queue)

    def next(self):
        if not self.queue:
            self.refill()
        batch = self.queue.pop()
        width = max(len(ids) for _, ids in batch)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for _, ids in batch])
        return ids, torch.tensor([c for c, _ in batch]), torch.tensor([len(ids) for _, ids in batch])


def progress(step, args):
    return min(1.0, max(0.0, (step - args.warmup) / max(1, args.steps - args.warmup)))


def learning_rate(step, args):
    """A straight warm-up, then half a cosine down to zero."""
    if step < args.warmup:
        return args.lr * (step + 1) / args.warmup
    return args.lr * 0.5 * (1 + math.cos(math.pi * progress(step, args)))


def rounds_weights(step, args):
    """Whether this step trains the weights as int4 will have them: every other one, at random, near the end."""
    return step >= args.steps * (1 - args.quantize) and random.Random("%d:%d" % (args.seed, step)).random() < 0.5


def make_optimizer(model, args):
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": args.decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98), eps=1e-8)


def save(path, model, optimizer, state):
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "state": state,
                "config": vars(model.config)}, path + ".part")
    os.replace(path + ".part", path)  # a stop in the middle must not cost the old checkpoint


def report(model, tokenizer, questions, step):
    model.eval()
    exact, table, _ = accuracy(model, tokenizer, questions)
    with quantized(model, "int4"), torch.no_grad():
        exact4 = accuracy(model, tokenizer, questions)[0]
    model.train()
    cells = " ".join("%s.%s %d/%d" % (k[0], k[1], v[0], v[1]) for k, v in sorted(table.items()) if v[0] < v[1])
    print("step %d dev exact %.1f%% int4 %.1f%% | %s" % (step, 100 * exact, 100 * exact4, cells), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--tokens", type=int, default=3000, help="tokens in a batch")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=300)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--quantize", type=float, default=0.25, help="share of the training that rounds to int4")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--eval-every", type=int, default=1000)
    parser.add_argument("--stop-after", type=int, help="stop at this step (to try out, or to continue later)")
    args = parser.parse_args()

    torch.set_num_threads(1)  # the matrices are small: a second thread costs more than it brings
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    corpus, _, dev = build()
    tokenizer = Tokenizer()
    os.makedirs(args.work, exist_ok=True)
    write_questions(os.path.join(args.work, "dev.jsonl"), dev)
    dev = read_questions(os.path.join(args.work, "dev.jsonl"))

    rows = -(-tokenizer.sp.GetPieceSize() // 64) * 64  # a whole number of blocks for any kernel
    model = ChatGLM(Config(rows, args.hidden, args.layers, args.hidden // 32))
    optimizer = make_optimizer(model, args)
    batches = Batches(corpus, tokenizer, args.seed, args.tokens)
    state = {"step": 0, "tokens": 0, "seconds": 0.0, "pool": 0, "left": 0}
    path = os.path.join(args.work, "checkpoint.pt")
    if os.path.exists(path):
        saved = torch.load(path)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
        if state["left"]:  # draw the unfinished pool again and drop what was used of it
            batches.pool = state["pool"] - 1
            batches.refill()
            del batches.queue[state["left"]:]
        else:
            batches.pool = state["pool"]
    print("%d parameters, step %d" % (sum(p.numel() for p in model.parameters()), state["step"]), flush=True)

    model.train()
    mean, begun, counted = 0.0, time.time(), 0
    last = min(args.steps, args.stop_after or args.steps)
    while state["step"] < last:
        step = state["step"]
        ids, context, length = batches.next()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args)
        if rounds_weights(step, args):
            with quantized(model, "int4"):
                loss = model.loss(ids, context, length)
        else:
            loss = model.loss(ids, context, length)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean += loss.item()
        count = int(length.sum())
        counted += count
        state.update(step=step + 1, tokens=state["tokens"] + count, pool=batches.pool, left=len(batches.queue))
        if state["step"] % 100 == 0:
            seconds = time.time() - begun
            state["seconds"] += seconds
            print("step %d loss %.4f lr %.2e %d tokens/s %.2fM tokens %.0f s" % (
                state["step"], mean / 100, learning_rate(step, args), counted / seconds, state["tokens"] / 1e6,
                state["seconds"]), flush=True)
            save(path, model, optimizer, state)
            mean, counted, begun = 0.0, 0, time.time()
        if state["step"] % args.eval_every == 0:
            report(model, tokenizer, dev, state["step"])
            begun = time.time()
    save(path, model, optimizer, state)


if __name__ == "__main__":
    main()
