"""The corpus of the tiny bilingual chat model: facts x phrasings, with a true hold-out.

Everything the model learns is written in data/*.tsv and data/phrasings.txt. A question is a fact put into a phrasing.
Held out (never trained on) are: every phrasing marked "*", and a fixed pseudo-random share of all (fact, phrasing)
pairs, number pairs, word lists and follow-ups. The fact itself is always trained in other phrasings.

    python3 corpus.py --out WORKDIR            writes WORKDIR/dev.jsonl (for tuning), questions.jsonl, spm.tsv
"""
import argparse
import hashlib
import json
import os
import random
import unicodedata
from collections import Counter, defaultdict, namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "data")

# One answered question. history is a tuple of (question, answer) pairs that came before it.
Example = namedtuple("Example", "family lang history question answer")

# The share of training examples per family; the harder a family, the more it gets.
WEIGHTS = {
    "translate": 26, "category": 6, "colour": 4, "capital": 8, "opposite": 4, "number": 5, "sequence": 4,
    "arithmetic": 18, "compare": 2, "chat": 5, "unknown": 4, "copy": 4, "spell": 14, "member": 6, "follow-up": 16,
}
# Held-out questions per family and language in questions.jsonl (dev.jsonl gets as many others).
QUOTA = {
    "translate": 50, "category": 16, "colour": 14, "capital": 24, "opposite": 14, "number": 18, "sequence": 12,
    "arithmetic": 32, "compare": 6, "chat": 12, "unknown": 5, "copy": 10, "spell": 14, "member": 9, "follow-up": 24,
}

# ---------------------------------------------------------------- tables


def read_tsv(name):
    with open(os.path.join(DATA, name), encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f if line.strip() and not line.startswith("#")]


def read_phrasings():
    """{(family, form, language): [(template, is_held_out)]}"""
    result, key = {}, None
    with open(os.path.join(DATA, "phrasings.txt"), encoding="utf-8") as f:
        for line in f:
            line = line.strip()
            if line.startswith("["):
                key = tuple(line.strip("[]").split())
                result[key] = []
            elif line and not line.startswith("#"):
                result[key].append((line.lstrip("* "), line.startswith("*")))
    return result


PHRASINGS = read_phrasings()
CONCEPTS = read_tsv("concepts.tsv")
CATEGORIES = {row[0]: row[1:] for row in read_tsv("categories.tsv")}
CAPITALS = read_tsv("capitals.tsv")
COLOURS = read_tsv("colours.tsv")
OPPOSITES = read_tsv("opposites.tsv")
PLURALS = {"trousers", "shoes", "socks", "gloves", "boots", "scissors", "chopsticks", "parents", "twins", "noodles", "police"}

DAYS = (["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
        ["星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"])
MONTHS = (["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December"],
          ["一月", "二月", "三月", "四月", "五月", "六月", "七月", "八月", "九月", "十月", "十一月", "十二月"])

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen").split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
HAN = "零一二三四五六七八九"


def english_number(n):
    if n < 20:
        return ONES[n]
    if n == 100:
        return "one hundred"
    return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")


def chinese_number(n):
    if n < 10:
        return HAN[n]
    if n == 100:
        return "一百"
    return ("" if n < 20 else HAN[n // 10]) + "十" + (HAN[n % 10] if n % 10 else "")


def number(n, lang):
    return english_number(n) if lang == "en" else chinese_number(n)


def with_article(word, grammar="count"):
    if grammar == "mass":
        return word
    return ("an " if word[0] in "aeio" or word == "umbrella" or word == "uncle" else "a ") + word


def capitalised(text):
    return text[0].upper() + text[1:]


# ---------------------------------------------------------------- the hold-out


def share(*key):
    """A number in 0..99 that depends on the key alone: the same in every run, on every machine."""
    return hashlib.sha1("|".join(map(str, key)).encode()).digest()[0] * 100 // 256


def fold(text):
    """What two questions must differ in to count as different: not case, spaces or punctuation."""
    text = unicodedata.normalize("NFKC", text).lower()
    return "".join(c for c in text if c in "+-" or not (c.isspace() or unicodedata.category(c)[0] in "PS"))


def fingerprint(example):
    turns = [part for turn in example.history for part in turn] + [example.question]
    return "\n".join(map(fold, turns))


# ---------------------------------------------------------------- single questions


def ask(family, form, lang, answer, x, y="", held=None, percent=7):
    """All phrasings of one fact: yields (example, is_held_out)."""
    for template, template_held in PHRASINGS[family, form, lang]:
        question = template.replace("{x}", x).replace("{y}", y)
        hold = template_held or (share(family, template, x, y) < percent if held is None else held)
        yield Example(family, lang, (), question, answer), hold


def translations():
    words = [(en, zh) for en, zh, *_ in CONCEPTS] + list(zip(*DAYS)) + list(zip(*MONTHS))
    words += [(row[0].replace("the ", ""), row[2]) for row in CAPITALS] + [(row[1], row[3]) for row in CAPITALS]
    words += [(english_number(n), chinese_number(n)) for n in range(21)]
    for en, zh in words:
        for lang in ("en", "zh"):
            yield from ask("translate", "en-zh", lang, zh, en)
            yield from ask("translate", "zh-en", lang, en, zh)


def categories():
    for en, zh, category, grammar in CONCEPTS:
        if category in CATEGORIES:
            in_english, in_chinese = CATEGORIES[category][:2]
            if en not in PLURALS:
                yield from ask("category", "what", "en", "It is " + in_english + ".", with_article(en, grammar))
            yield from ask("category", "what", "zh", zh + "是" + in_chinese + "。", zh)


def colours():
    for en, colour, zh, colour_zh in COLOURS:
        yield from ask("colour", "what", "en", capitalised(en) + " is " + colour + ".", en)
        yield from ask("colour", "what", "zh", zh + "是" + colour_zh + "的。", zh)


def capital_answer(row, lang):
    return "The capital of %s is %s." % (row[0], row[1]) if lang == "en" else row[2] + "的首都是" + row[3] + "。"


def capitals():
    for row in CAPITALS:
        yield from ask("capital", "of", "en", capital_answer(row, "en"), row[0])
        yield from ask("capital", "of", "zh", capital_answer(row, "zh"), row[2])
        yield from ask("capital", "from", "en", "%s is the capital of %s." % (row[1], row[0]), row[1])
        yield from ask("capital", "from", "zh", row[3] + "是" + row[2] + "的首都。", row[3])


def opposites():
    for a, b, a_zh, b_zh in OPPOSITES:
        for x, y, lang in ((a, b, "en"), (b, a, "en"), (a_zh, b_zh, "zh"), (b_zh, a_zh, "zh")):
            yield from ask("opposite", "of", lang, y, x)


def numbers():
    for n in range(101):
        for lang in ("en", "zh"):
            yield from ask("number", "words", lang, number(n, lang), str(n))
            yield from ask("number", "digits", lang, str(n), number(n, lang))


def sequences():
    def pairs(items, lang, circular):
        for i, item in enumerate(items):
            if circular or i + 1 < len(items):
                yield from ask("sequence", "after", lang, items[(i + 1) % len(items)], item)
            if circular or i:
                yield from ask("sequence", "before", lang, items[i - 1], item)
    for lang, index in (("en", 0), ("zh", 1)):
        yield from pairs(DAYS[index], lang, True)
        yield from pairs(MONTHS[index], lang, True)
        yield from pairs([str(n) for n in range(31)], lang, False)


def sums():
    """Additions and subtractions within 20. Held out: one in twelve number pairs, per language and way of writing."""
    for a in range(21):
        for b in range(21):
            for form, fits, result in (("plus", a + b <= 20, a + b), ("minus", b <= a, a - b)):
                if not fits:
                    continue
                for lang in ("en", "zh"):
                    held = share("sum", form, "digits", lang, a, b) < 8
                    yield from ask(form, "digits", lang, str(result), str(a), str(b), held)
                    held = share("sum", form, "words", lang, a, b) < 8
                    yield from ask(form, "words", lang, number(result, lang), number(a, lang), number(b, lang), held)


def comparisons():
    for a in range(21):
        for b in range(21):
            if a != b:
                for lang in ("en", "zh"):
                    held = share("compare", lang, a, b) < 8
                    yield from ask("compare", "larger", lang, str(max(a, b)), str(a), str(b), held)


def spellings():
    for en, zh, *_ in CONCEPTS:
        if " " not in en:
            letters = "-".join(en)
            for lang in ("en", "zh"):
                yield from ask("spell", "out", lang, letters, en)
                yield from ask("spell", "back", lang, en, letters)


def small_talk():
    for lang, answer, *questions in read_tsv("chat.tsv"):
        for question in questions:
            yield Example("chat", lang, (), question.lstrip("*"), answer), question.startswith("*")


UNKNOWN = {"en": "I am a tiny model and do not know that.", "zh": "我是个小模型。这个我不知道。"}


def unknowns():
    for lang, question in read_tsv("unknown.tsv"):
        yield Example("unknown", lang, (), question.lstrip("*"), UNKNOWN[lang]), question.startswith("*")


def single_questions():
    """{family: {language: {"train": [...], "held": [...]}}} of all questions that can be listed."""
    result = defaultdict(lambda: defaultdict(lambda: {"train": [], "held": []}))
    for source in (translations, categories, colours, capitals, opposites, numbers, sequences, sums, comparisons,
                   spellings, small_talk, unknowns):
        for example, held in source():
            family = {"plus": "arithmetic", "minus": "arithmetic"}.get(example.family, example.family)
            example = example._replace(family=family)
            result[family][example.lang]["held" if held else "train"].append(example)
    return result


# ---------------------------------------------------------------- questions drawn at random


def draw_phrasing(rng, key, held):
    return rng.choice([t for t, h in PHRASINGS[key] if held or not h])


def draw_copy(rng, lang, held):
    words = [rng.choice(CONCEPTS)[0 if lang == "en" else 1] for _ in range(rng.randint(1, 4))]
    text = " ".join(words) if lang == "en" or rng.random() < 0.3 else "".join(words)
    template = draw_phrasing(rng, ("copy", "words", lang), held)
    hold = share("copy", text) < 10
    return Example("copy", lang, (), template.replace("{x}", text), text), hold


CATEGORISED = [row for row in CONCEPTS if row[2] in CATEGORIES and row[2] not in ("household", "time", "food", "nature")]


def draw_member(rng, lang, held):
    right, wrong = rng.sample(CATEGORISED, 2)
    while wrong[2] == right[2]:
        wrong = rng.choice(CATEGORISED)
    column = 0 if lang == "en" else 1
    pair = [right[column], wrong[column]]
    rng.shuffle(pair)
    template = draw_phrasing(rng, ("member", "which", lang), held)
    listed = (", " if lang == "en" else "、").join(pair)
    question = template.replace("{x}", listed).replace("{y}", CATEGORIES[right[2]][column])
    return Example("member", lang, (), question, right[column]), share("member", *sorted(pair)) < 10


# Follow-ups: (language, first family and form, what is asked next). {w} is another thing of the same kind.
AND = {"en": ["And {w}?", "What about {w}?", "And what about {w}?", "How about {w}?"],
       "zh": ["{w}呢？", "那{w}呢？", "那么{w}呢？", "还有{w}呢？"]}
IN_ENGLISH = {"en": ["And in English?", "In English?", "And in English, please?", "What is that in English?", "Say it in English."],
              "zh": ["英语呢？", "用英语怎么说？", "那用英语怎么说？", "用英语说一遍。", "翻译成英语呢？"]}
IN_CHINESE = {"en": ["And in Chinese?", "In Chinese?", "And in Chinese, please?", "What is that in Chinese?", "Say it in Chinese."],
              "zh": ["中文呢？", "用中文怎么说？", "那用中文怎么说？", "用中文说一遍。", "翻译成中文呢？"]}
IN_WORDS = {"en": ["And in words?", "In words?", "Write it in words."], "zh": ["用汉字怎么写？", "写成汉字呢？", "汉字呢？"]}
SPELL_IT = {"en": ["Spell it.", "How do you spell it?", "How is it spelled?"], "zh": ["怎么拼写？", "怎么拼？", "请拼写。"]}


class Corpus:
    """Draws training examples; knows the held-out ones and never returns them."""

    def __init__(self):
        self.single = single_questions()
        self.draw = {"copy": draw_copy, "member": draw_member, "follow-up": self.draw_follow_up}
        self.families = list(WEIGHTS)
        self.banned = {fingerprint(e) for f in self.single.values() for split in f.values() for e in split["held"]}
        for family in self.single.values():
            for split in family.values():
                split["train"] = [e for e in split["train"] if fingerprint(e) not in self.banned]

    def first_turn(self, rng, lang, family):
        return rng.choice(self.single[family][lang]["train"])

    def asked(self, rng, family, form, lang, answer, x, y=""):
        """A trained phrasing of a fact, as the first turn of a dialogue."""
        for _ in range(50):
            question = draw_phrasing(rng, (family, form, lang), False).replace("{x}", x).replace("{y}", y)
            if fold(question) not in self.banned:
                return question, answer
        raise ValueError("no trained phrasing of " + x)

    def draw_follow_up(self, rng, lang, _held):
        kind = rng.choice(["word", "word", "capital", "capital-other", "category", "colour-other", "sum-words",
                           "spell", "opposite-other", "opposite", "any", "any", "thanks", "three"])
        make = getattr(self, "follow_" + kind.replace("-", "_"))
        history, question, answer = make(rng, lang)
        example = Example("follow-up", lang, tuple(history), question, answer)
        return example, kind not in ("any", "thanks", "three") and share("follow", fingerprint(example)) < 10

    def follow_word(self, rng, lang):
        a, b = rng.sample(CONCEPTS, 2)
        form, q, r = rng.choice((("en-zh", 0, 1), ("zh-en", 1, 0)))
        first = self.asked(rng, "translate", form, lang, a[r], a[q])
        return [first], rng.choice(AND[lang]).replace("{w}", b[q]), b[r]

    def follow_capital(self, rng, lang):
        a, b = rng.sample(CAPITALS, 2)
        country = 0 if lang == "en" else 2
        first = self.asked(rng, "capital", "of", lang, capital_answer(a, lang), a[country])
        return [first], rng.choice(AND[lang]).replace("{w}", b[country]), capital_answer(b, lang)

    def follow_capital_other(self, rng, lang):
        row = rng.choice(CAPITALS)
        first = self.asked(rng, "capital", "of", lang, capital_answer(row, lang), row[0 if lang == "en" else 2])
        return [first], rng.choice((IN_CHINESE if lang == "en" else IN_ENGLISH)[lang]), \
            capital_answer(row, "zh" if lang == "en" else "en")

    def follow_category(self, rng, lang):
        rows = [r for r in rng.sample(CONCEPTS, 40) if r[2] in CATEGORIES and r[0] not in PLURALS][:2]
        things = [with_article(r[0], r[3]) if lang == "en" else r[1] for r in rows]
        answers = ["It is " + CATEGORIES[r[2]][0] + "." if lang == "en" else r[1] + "是" + CATEGORIES[r[2]][1] + "。"
                   for r in rows]
        first = self.asked(rng, "category", "what", lang, answers[0], things[0])
        return [first], rng.choice(AND[lang]).replace("{w}", things[1]), answers[1]

    def follow_colour_other(self, rng, lang):
        en, colour, zh, colour_zh = rng.choice(COLOURS)
        in_english, in_chinese = capitalised(en) + " is " + colour + ".", zh + "是" + colour_zh + "的。"
        if lang == "en":
            first = self.asked(rng, "colour", "what", lang, in_english, en)
            return [first], rng.choice(IN_CHINESE[lang]), in_chinese
        first = self.asked(rng, "colour", "what", lang, in_chinese, zh)
        return [first], rng.choice(IN_ENGLISH[lang]), in_english

    def follow_sum_words(self, rng, lang):
        first = rng.choice([e for e in rng.choices(self.single["arithmetic"][lang]["train"], k=20) if e.answer.isdigit()])
        return [(first.question, first.answer)], rng.choice(IN_WORDS[lang]), number(int(first.answer), lang)

    def follow_spell(self, rng, lang):
        row = rng.choice([r for r in rng.sample(CONCEPTS, 5) if " " not in r[0]])
        first = self.asked(rng, "translate", "zh-en", lang, row[0], row[1])
        return [first], rng.choice(SPELL_IT[lang]), "-".join(row[0])

    def follow_opposite_other(self, rng, lang):
        a, b, a_zh, b_zh = rng.choice(OPPOSITES)
        if rng.random() < 0.5:
            a, b, a_zh, b_zh = b, a, b_zh, a_zh
        if lang == "en":
            return [self.asked(rng, "opposite", "of", lang, b, a)], rng.choice(IN_CHINESE[lang]), b_zh
        return [self.asked(rng, "opposite", "of", lang, b_zh, a_zh)], rng.choice(IN_ENGLISH[lang]), b

    def follow_opposite(self, rng, lang):
        a, b = rng.sample(OPPOSITES, 2)
        i, j = (0, 1) if lang == "en" else (2, 3)
        return [self.asked(rng, "opposite", "of", lang, a[j], a[i])], rng.choice(AND[lang]).replace("{w}", b[i]), b[j]

    def any_turn(self, rng, lang):
        family = rng.choice(["translate", "category", "colour", "capital", "arithmetic", "chat", "opposite", "number"])
        e = self.first_turn(rng, lang, family)
        return e.question, e.answer

    def follow_any(self, rng, lang):
        """A change of subject: the history must not disturb the answer."""
        other = lang if rng.random() < 0.7 else ("zh" if lang == "en" else "en")
        question, answer = self.any_turn(rng, lang)
        return [self.any_turn(rng, other)], question, answer

    def follow_thanks(self, rng, lang):
        thanks = self.single["chat"][lang]["train"]
        thanks = rng.choice([e for e in thanks if e.answer in ("You are welcome!", "不客气。", "Goodbye! See you again.", "再见。下次再聊。")])
        return [self.any_turn(rng, lang)], thanks.question, thanks.answer

    def follow_three(self, rng, lang):
        make = rng.choice([self.follow_word, self.follow_capital, self.follow_any, self.follow_capital_other])
        history, question, answer = make(rng, lang)
        return [self.any_turn(rng, lang)] + list(history), question, answer

    def ban(self, examples):
        self.banned.update(map(fingerprint, examples))

    def training_example(self, rng):
        family = rng.choices(self.families, [WEIGHTS[f] for f in self.families])[0]
        lang = rng.choice(("en", "zh"))
        if family not in self.draw:
            return self.loosened(rng, rng.choice(self.single[family][lang]["train"]))
        while True:
            example, held = self.draw[family](rng, lang, False)
            if not held and fingerprint(example) not in self.banned:
                return example if family == "copy" else self.loosened(rng, example)

    def loosened(self, rng, example):
        """People drop capitals and punctuation, and say please: so does a part of the training questions."""
        question, luck = example.question, rng.random()
        if luck < 0.06:
            question = question.rstrip(".?!。？！") or question
        elif luck < 0.10:
            question = question[0].lower() + question[1:]
        elif luck < 0.13 and example.lang == "zh" and example.family not in ("chat", "unknown"):
            question = "请问，" + question
        changed = example._replace(question=question)
        return example if fingerprint(changed) in self.banned else changed

    def held_out(self):
        """(questions, dev): two disjoint sets of held-out examples, by QUOTA."""
        rng, sets = random.Random(20), ([], [])
        for family, quota in QUOTA.items():
            for lang in ("en", "zh"):
                pool, seen = [], set()
                if family in self.draw:
                    while len(pool) < 2 * quota:
                        example, held = self.draw[family](rng, lang, True)
                        if held and fingerprint(example) not in seen:
                            seen.add(fingerprint(example))
                            pool.append(example)
                else:
                    pool = list(self.single[family][lang]["held"])
                    rng.shuffle(pool)
                    unique = []
                    for example in pool:
                        if fingerprint(example) not in seen:
                            seen.add(fingerprint(example))
                            unique.append(example)
                    pool = unique
                sets[0].extend(pool[:quota])
                sets[1].extend(pool[quota:2 * quota])
        return sets


def build():
    """(corpus, questions, dev), with everything in questions and dev kept out of training."""
    corpus = Corpus()
    questions, dev = corpus.held_out()
    corpus.ban(questions + dev)
    return corpus, questions, dev


def check_hold_out(corpus, questions, samples=100000):
    held = {fingerprint(e) for e in questions}
    for family in corpus.single.values():
        for split in family.values():
            assert not held & {fingerprint(e) for e in split["train"]}
    rng = random.Random(1)
    for _ in range(samples):
        e = corpus.training_example(rng)
        assert fingerprint(e) not in held, e


def check_tables():
    for column in (0, 1):
        words = [row[column] for row in CONCEPTS]
        assert len(words) == len(set(words)), "a word stands twice in concepts.tsv"
    assert len(CONCEPTS) >= 500


def write_questions(path, examples):
    with open(path, "w", encoding="utf-8") as f:
        for i, e in enumerate(examples):
            row = {"id": "%s-%s-%03d" % (e.family, e.lang, i), "lang": e.lang, "family": e.family,
                   "history": [list(turn) for turn in e.history], "question": e.question, "answer": e.answer}
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


# Words of the Chinese questions themselves; with the tables they cut Chinese text into words for the vocabulary.
CHINESE_WORDS = """什么 怎么 英语 中文 英文 汉语 汉字 首都 颜色 反义词 相反词 相反 等于 多少 翻译 翻译成 告诉 告诉我 知道 你知道 意思
单词 字母 数字 重复 照抄 跟我 拼写 拼成 拼起来 一个 哪个 哪一个 哪里 哪国 国家 城市 东西 属于 一类 写成 写出 计算 算一算 一种 一部分
后面 前面 之后 之前 接下来 通常 一般 一遍 那么 还有 请问 不客气 谢谢 再见 你好 您好 早上好 晚上好 晚安 自己 介绍 名字 模型 我是
小模型 内置 这个 认识 高兴 很高兴 帮你 下次 会说 可以 哪些 语言 做个好梦 运行 处理器 离线 本机 对不起 动物 昆虫 水果 蔬菜 食物 饮料
职业 衣物 地方 交通工具 工具 家具 家里 文具 书报 乐器 运动 天气 大自然 材料 时间词 家人 称呼 鸟 身体 下面 选出 上一个 下一个 前一个""".split()
LEXICON = {row[1] for row in CONCEPTS} | {w for row in CAPITALS for w in row[2:]} | set(CHINESE_WORDS) | \
    set(DAYS[1]) | set(MONTHS[1])


def is_han(character):
    return "\u4e00" <= character <= "\u9fff"


def cut_words(text):
    """Chinese text with a full stop between its words: spm_train never makes a piece across one."""
    out, at = [], 0
    while at < len(text):
        size = next((n for n in (5, 4, 3, 2) if text[at:at + n] in LEXICON), 1)
        out.append(text[at:at + size] + ("。" if is_han(text[at]) else ""))
        at += size
    return "".join(out)


def write_spm_text(path, corpus, lines=60000):
    """What the vocabulary is learnt from, as text<TAB>frequency: training questions and answers, then every word.

    spm_train takes a whole word as a candidate only if it stands in two different surroundings, hence the list of words.
    """
    rng, counts, words = random.Random(7), Counter(), set()
    for _ in range(lines):
        e = corpus.training_example(rng)
        for text in (e.question, e.answer):
            counts["。" + cut_words(text) if is_han(text[0]) else cut_words(text)] += 1
            words.update(w.strip('.,:;!?"') for w in text.split() if w.isascii() and "-" not in w)
    for word in words:
        for text in ("%s", "%s.", "%s?", '"%s"'):
            counts["to " + text % word] += 50
    for word in LEXICON:
        for text in ("。%s。", "。%s、", "！%s？"):
            counts[text % word] += 60
    for text in ("[Round 0]", "[Round 1]", "[Round 2]", "。问：", "。答："):
        counts[text] += 3000
    with open(path, "w", encoding="utf-8") as f:
        for text in sorted(counts):
            f.write("%s\t%d\n" % (text, counts[text]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder for dev.jsonl and spm.tsv")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    check_tables()
    corpus, questions, dev = build()
    check_hold_out(corpus, questions + dev)
    write_questions(os.path.join(HERE, "questions.jsonl"), questions)
    write_questions(os.path.join(args.out, "dev.jsonl"), dev)
    write_spm_text(os.path.join(args.out, "spm.tsv"), corpus)
    singles = sum(len(s["train"]) for f in corpus.single.values() for s in f.values())
    print("%d concepts, %d single training questions, %d held-out questions (%d Chinese), %d dev questions" % (
        len(CONCEPTS), singles, len(questions), sum(e.lang == "zh" for e in questions), len(dev)))


if __name__ == "__main__":
    main()
