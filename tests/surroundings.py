"""What a method could change for everything else in the process; the contract tests look at it before and after."""

import random

import numpy as np
import torch

__all__ = ["surroundings"]


def surroundings() -> tuple[object, ...]:
    """Settings and generators of torch, numpy and python, comparable with ==."""
    return (
        torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.cuda.is_initialized(),
        torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate(),
        tuple(np.geterr().items()),
    )  # fmt: skip
