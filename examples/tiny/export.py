"""Writes model/ (config.json, model.safetensors in f16, tokenizer_config.json) from a checkpoint, and selfcheck.json.

    python3 export.py --work WORKDIR
"""
import argparse
import json
import os
from collections import OrderedDict

import torch

from hf import load_folder, write_safetensors
from model import ChatGLM, Config, rotary_frequencies
from text import HERE, Tokenizer, chat_prompt

FOLDER = os.path.join(HERE, "model")
SELFCHECK = [  # three chats: English, Chinese, two turns
    ([], "What is the capital of France?"),
    ([], "大象用英语怎么说？"),
    ([("How do you say cat in Chinese?", "猫")], "And panda?"),
]


def config_json(model, tokenizer):
    c = model.config
    return OrderedDict([
        ("_name_or_path", "glint tiny"), ("license", "MIT"), ("max_history", 1),
        ("architectures", ["ChatGLMModel"]), ("bos_token_id", tokenizer.sop), ("eos_token_id", tokenizer.eop),
        ("gmask_token_id", tokenizer.gmask), ("hidden_size", c.hidden_size), ("inner_hidden_size", c.inner_hidden_size),
        ("layernorm_epsilon", c.layernorm_epsilon), ("mask_token_id", tokenizer.mask),
        ("max_sequence_length", c.max_sequence_length), ("model_type", "chatglm"),
        ("num_attention_heads", c.num_attention_heads), ("num_layers", c.num_layers), ("pad_token_id", tokenizer.pad),
        ("position_encoding_2d", True), ("pre_seq_len", None), ("prefix_projection", False), ("quantization_bit", 0),
        ("torch_dtype", "float16"), ("transformers_version", "4.28.0.dev0"), ("use_cache", True),
        ("vocab_size", c.vocab_size)])


TOKENIZER_CONFIG = OrderedDict([
    ("name_or_path", "glint/tiny"), ("bos_token", "<sop>"), ("eos_token", "<eop>"), ("end_token", "</s>"),
    ("gmask_token", "[gMASK]"), ("mask_token", "[MASK]"), ("pad_token", "<pad>"), ("unk_token", "<unk>"),
    ("remove_space", False), ("do_lower_case", False), ("tokenizer_class", "ChatGLMTokenizer"), ("num_image_tokens", 0),
    ("auto_map", {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]})])


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=2)
        f.write("\n")


def all_tensors(model):
    """The published checkpoint's set: the head is stored although tied, and each layer has its rotary frequencies."""
    tensors = dict(model.state_dict())
    tensors["lm_head.weight"] = tensors["transformer.word_embeddings.weight"]
    dim = model.config.hidden_size // model.config.num_attention_heads // 2
    for i in range(model.config.num_layers):
        tensors["transformer.layers.%d.attention.rotary_emb.inv_freq" % i] = rotary_frequencies(dim)
    return tensors


@torch.no_grad()
def selfcheck(model, tokenizer, history, question):
    """The ids of a prompt, the first greedy answer ids and the five largest logits of the first step, in f32."""
    ids = tokenizer.prompt(history, question)
    answer = model.greedy([ids], tokenizer.eop)[0]
    states = model.hidden_states(torch.tensor([ids]), torch.tensor([len(ids) - 1]), torch.tensor([len(ids)]))
    top = model.logits(states[0, -1]).topk(5)
    return OrderedDict([
        ("history", [list(turn) for turn in history]), ("question", question),
        ("prompt", chat_prompt(history, question)), ("ids", ids), ("answer", tokenizer.decode(answer)),
        ("answer_ids_first_5", (answer + [tokenizer.eop])[:5]),
        ("first_step_top_logits", [[int(i), round(float(v), 4)] for v, i in zip(*top)])])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    saved = torch.load(os.path.join(args.work, "checkpoint.pt"))
    model, tokenizer = ChatGLM(Config(**saved["config"])), Tokenizer()
    model.load_state_dict(saved["model"])
    os.makedirs(FOLDER, exist_ok=True)
    write_json(os.path.join(FOLDER, "config.json"), config_json(model, tokenizer))
    write_json(os.path.join(FOLDER, "tokenizer_config.json"), TOKENIZER_CONFIG)
    write_safetensors(os.path.join(FOLDER, "model.safetensors"), all_tensors(model))
    model, _ = load_folder(FOLDER)  # from here on the weights as shipped, rounded to f16
    checks = [selfcheck(model, tokenizer, *chat) for chat in SELFCHECK]
    write_json(os.path.join(HERE, "selfcheck.json"), checks)
    for check in checks:
        print(check["question"], "->", check["answer"])
    print("exported step %d, %.1fM tokens" % (saved["state"]["step"], saved["state"]["tokens"] / 1e6))


if __name__ == "__main__":
    main()
