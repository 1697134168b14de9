"""Compares model.py with the outputs of the published code on a small random ChatGLM-6B.

    python3 check_golden.py FOLDER       FOLDER as reference/goldens/chatglm1-tiny
"""
import os
import sys

import numpy as np
import torch

from hf import load_folder


def main(folder):
    model, config = load_folder(folder)
    worst = 0.0
    for case in sorted(os.listdir(os.path.join(folder, "cases"))):
        ids = np.load(os.path.join(folder, "cases", case, "input_ids.npy"))
        if len(ids) != 1 or config["gmask_token_id"] not in ids:
            continue  # training uses [gMASK] only
        golden = torch.from_numpy(np.load(os.path.join(folder, "cases", case, "logits.npy")))
        context = int(np.where(ids[0] == config["bos_token_id"])[0][0])
        if ids[0][context - 1] != config["gmask_token_id"]:
            continue
        with torch.no_grad():
            states = model.hidden_states(torch.from_numpy(ids), torch.tensor([context]), torch.tensor([ids.shape[1]]))
            error = (model.logits(states) - golden).abs().max().item()
        worst = max(worst, error)
        print("%-16s %4d tokens, largest difference %.2e" % (case, ids.shape[1], error))
    return 0 if 0 < worst < 2e-4 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
