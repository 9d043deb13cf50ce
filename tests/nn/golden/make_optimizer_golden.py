"""Write optimizers.json: 200 steps of PyTorch's optimizers in float64, for the tests to follow.

Run it once, by hand, in an environment that has PyTorch; the tests read the file alone:

    pip install torch==2.13.0 numpy
    python tests/nn/golden/make_optimizer_golden.py

The problem is logistic regression with a bowl around zero, on eight samples at a time, so that the gradient depends on
the parameters (errors compound) and never vanishes (its sign and its scale are never those of rounding errors).
"""

import json
from pathlib import Path

import numpy as np
import torch

NUM_STEPS = 200
KEPT_STEPS = (1, 2, 3, 10, 50, 100, 199, 200)
NUM_SAMPLES, NUM_PARAMS, BATCH_SIZE = 40, 6, 8
BOWL = 0.05

# Our name -> PyTorch's class and, twice, our keywords beside PyTorch's: our defaults, then another set.
RUNS = {
    "gd": (
        torch.optim.SGD,
        ({"learning_rate": 0.01}, {"lr": 0.01}),
        ({"learning_rate": 0.5}, {"lr": 0.5}),
    ),
    "momentum": (
        torch.optim.SGD,
        ({"learning_rate": 0.01, "momentum": 0.9}, {"lr": 0.01, "momentum": 0.9}),
        ({"learning_rate": 0.2, "momentum": 0.5}, {"lr": 0.2, "momentum": 0.5}),
    ),
    "nesterov": (
        torch.optim.SGD,
        ({"learning_rate": 0.01, "momentum": 0.9}, {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
        ({"learning_rate": 0.05, "momentum": 0.99}, {"lr": 0.05, "momentum": 0.99, "nesterov": True}),
    ),
    "adagrad": (
        torch.optim.Adagrad,
        ({"learning_rate": 0.01, "epsilon": 1e-10}, {"lr": 0.01, "eps": 1e-10}),
        ({"learning_rate": 0.5, "epsilon": 1e-2}, {"lr": 0.5, "eps": 1e-2}),
    ),
    "rmsprop": (
        torch.optim.RMSprop,
        ({"learning_rate": 0.001, "decay": 0.9, "epsilon": 1e-8}, {"lr": 0.001, "alpha": 0.9, "eps": 1e-8}),
        ({"learning_rate": 0.05, "decay": 0.99, "epsilon": 1e-2}, {"lr": 0.05, "alpha": 0.99, "eps": 1e-2}),
    ),
    "adam": (
        torch.optim.Adam,
        (
            {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
            {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8},
        ),
        (
            {"learning_rate": 0.1, "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-2},
            {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-2},
        ),
    ),
    "adamw": (
        torch.optim.AdamW,
        (
            {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "decoupled_weight_decay": 0.01},
            {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01},
        ),
        (
            {"learning_rate": 0.1, "beta1": 0.5, "beta2": 0.9, "epsilon": 1e-2, "decoupled_weight_decay": 0.3},
            {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-2, "weight_decay": 0.3},
        ),
    ),
    "rprop": (
        torch.optim.Rprop,
        (
            {"learning_rate": 0.1, "increase": 1.2, "decrease": 0.5, "smallest_step": 1e-6, "largest_step": 50.0},
            {"lr": 0.1, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0)},
        ),
        (
            {"learning_rate": 0.02, "increase": 1.6, "decrease": 0.7, "smallest_step": 1e-2, "largest_step": 0.3},
            {"lr": 0.02, "etas": (0.7, 1.6), "step_sizes": (1e-2, 0.3)},
        ),
    ),
}


def trajectory(optimizer_class, options, start, features, targets):
    """Return the parameters after each of `KEPT_STEPS`, (kept, num_params), with gradients by PyTorch's autograd."""
    params = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_class([params], **options)
    kept = []
    for step in range(1, NUM_STEPS + 1):
        rows = [(BATCH_SIZE * (step - 1) + offset) % NUM_SAMPLES for offset in range(BATCH_SIZE)]
        logits = torch.tensor(features[rows]) @ params
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(targets[rows]))
        loss = loss + BOWL / 2 * (params**2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in KEPT_STEPS:
            kept.append(params.detach().tolist())
    return kept


def main():
    """Draw the problem, follow it with every optimizer and write the file."""
    rng = np.random.default_rng(20)
    features = rng.standard_normal((NUM_SAMPLES, NUM_PARAMS)) * [0.3, 0.5, 1, 1, 2, 3]
    targets = (features @ rng.standard_normal(NUM_PARAMS) + rng.standard_normal(NUM_SAMPLES) > 0).astype(float)
    start = rng.standard_normal(NUM_PARAMS)
    golden = {
        "pytorch": torch.__version__.split("+")[0],
        "batch_size": BATCH_SIZE,
        "bowl": BOWL,
        "steps": KEPT_STEPS,
        "features": features.tolist(),
        "targets": targets.tolist(),
        "start": start.tolist(),
        "runs": [
            {
                "optimizer": name,
                "options": ours,
                "params": trajectory(optimizer_class, theirs, start, features, targets),
            }
            for name, (optimizer_class, *pairs) in RUNS.items()
            for ours, theirs in pairs
        ],
    }
    path = Path(__file__).with_name("optimizers.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
