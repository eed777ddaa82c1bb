"""Writes training.npz: losses, optimizers and schedules as PyTorch and torchvision compute them in float64.

    PYTHONPATH=tests python tests/vectors/make_training_vectors.py

needs both; the tests that read the file do not. A loss NAME is stored as loss/NAME/ with the operands x, t and, if
there are any, weights, and the answers mean, mean_grad, sum, sum_grad, none and none_grad; an optimizer's as
descent/NAME/path, all of the same descent/start and descent/grads; a schedule's rates as schedule/NAME.
"""

from pathlib import Path

import numpy as np

from training_cases import LOSSES, OPTIMIZERS, SCHEDULES, draw_descent
from training_oracle import descent_answers, loss_answers, schedule_answers

HERE = Path(__file__).parent


def main() -> None:
    rng = np.random.default_rng(20261121)
    arrays = {}
    for case in LOSSES:
        operands = case.draw(rng)
        everything = operands | loss_answers(case, **operands)
        arrays |= {f"loss/{case.name}/{key}": array for key, array in everything.items()}
    descent = draw_descent(rng)
    arrays |= {f"descent/{key}": array for key, array in descent.items()}
    arrays |= {f"descent/{name}/path": descent_answers(name, **descent) for name in OPTIMIZERS}
    arrays |= {f"schedule/{name}": schedule_answers(name) for name in SCHEDULES}
    np.savez_compressed(HERE / "training.npz", **arrays)


if __name__ == "__main__":
    main()
