"""Text to ids and back by ChatGLM-6B's rules, and the prompt of a chat."""
import json
import os
import re

import sentencepiece

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "model", "ice_text.model")


class Tokenizer:
    def __init__(self, path=MODEL):
        self.sp = sentencepiece.SentencePieceProcessor()
        self.sp.Load(path)
        self.mask, self.gmask, self.sop, self.eop = map(self.sp.PieceToId, ("[MASK]", "[gMASK]", "<sop>", "<eop>"))
        self.pad = self.sp.PieceToId("<pad>")

    def encode(self, text):
        text = text.replace("\n", "<n>").replace("\t", "<|tab|>")
        text = re.sub(" {2,80}", lambda m: "<|blank_%d|>" % len(m.group()), text)
        return self.sp.EncodeAsIds(text)

    def decode(self, ids):
        return self.sp.DecodeIds([int(i) for i in ids]).replace("<n>", "\n")

    def prompt(self, history, question):
        """The ids of a chat so far: the bare question, or numbered rounds once there is history; then [gMASK] <sop>."""
        return self.encode(chat_prompt(history, question)) + [self.gmask, self.sop]


def chat_prompt(history, question):
    if not history:
        return question
    rounds = ["[Round %d]\n问：%s\n答：%s\n" % (i, q, a) for i, (q, a) in enumerate(history)]
    return "".join(rounds) + "[Round %d]\n问：%s\n答：" % (len(history), question)


def read_questions(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def accuracy(model, tokenizer, questions, batch=64):
    """(share of exact answers, {(family, language): [right, all]}, wrong ones as (question, answer given))."""
    prompts = [tokenizer.prompt(q["history"], q["question"]) for q in questions]
    order = sorted(range(len(questions)), key=lambda i: (len(questions[i]["answer"]), len(prompts[i])))
    table, wrong = {}, []
    for at in range(0, len(order), batch):
        rows = order[at:at + batch]
        for i, ids in zip(rows, model.greedy([prompts[i] for i in rows], tokenizer.eop)):
            given, cell = tokenizer.decode(ids), table.setdefault((questions[i]["family"], questions[i]["lang"]), [0, 0])
            right = given == questions[i]["answer"]
            cell[0], cell[1] = cell[0] + right, cell[1] + 1
            if not right:
                wrong.append((questions[i], given))
    return 1 - len(wrong) / len(questions), table, wrong
