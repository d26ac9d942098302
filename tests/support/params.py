"""Small parameters for tests."""

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "pretrain": {
        "emb_size": 16,
        "block_size": 32,
        "layer_num": 2,
        "head_num": 2,
        "kv_head_num": 1,
        "mlp_size": 24,
        "max_steps": 6,
        "batch_size": 4,
        "micro_batch_size": 2,
        "lr": 1e-2,
        "embedding_lr": 1e-1,
        "muon_lr": 5e-2,
        "warmup_steps": 1,
        "eval_every": 2,
        "eval_windows": 4,
        "sample_length": 20,
        "device": "cpu",
        "precision": "fp32",
    },
    "finetune": {
        "max_steps": 6,
        "batch_size": 4,
        "lr": 1e-2,
        "embedding_lr": 1e-1,
        "muon_lr": 5e-2,
        "warmup_steps": 1,
        "eval_every": 2,
        "eval_windows": 4,
        "sample_requests": [{"author": "無名", "style": "樂府1", "title": ""}],
        "sample_length": 20,
    },
    "reinforce": {
        "max_steps": 6,
        "batch_size": 8,
        "warmup_steps": 1,
        "eval_every": 2,
        "eval_windows": 4,
        "sample_requests": [{"author": "無名", "style": "樂府1", "title": ""}],
        "sample_length": 24,
    },
    "evaluate": {
        "context": 8,
        "batch_size": 4,
        "sample_count": 2,
        "sample_length": 40,
        "device": "cpu",
        "precision": "fp32",
    },
}
"""Changes to params.yaml with which the whole chain runs in seconds."""

STAGES = ["load", "split", "tokenize", "encode", "pretrain", "baseline", "evaluate", "report"]
"""Stages that run on a user's own corpus, which needs no `fetch`."""

FINETUNING = ["finetune", "evaluate_finetuned", "report_finetuned"]
"""Stages that follow if they are asked for."""

REINFORCEMENT = ["reinforce", "evaluate_reinforced", "report_reinforced"]
"""Stages that follow the finetuning if they are asked for."""

MODERN = {
    "separators": True,
    "architecture": "modern",
    "windows": "epochs",
    "dropout": 0.0,
    "optimizer": "muon",
    "lr": 1e-2,
    "embedding_lr": 1e-1,
    "muon_lr": 5e-2,
    "muon_momentum": 0.95,
    "beta1": 0.9,
    "beta2": 0.95,
    "weight_decay": 0.0,
    "warmup_steps": 1,
    "decay": 1.0,
    "character_features": ["radical", "rhyme", "tone"],
}

CLASSIC = {
    "separators": False,
    "architecture": "classic",
    "windows": "random",
    "dropout": 0.1,
    "optimizer": "adamw",
    "lr": 1e-2,
    "embedding_lr": 1e-2,
    "beta1": 0.9,
    "beta2": 0.999,
    "weight_decay": 0.01,
    "warmup_steps": 0,
    "decay": 0.0,
    "character_features": [],
}
