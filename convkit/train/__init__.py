"""Training: the loop, what it measures, and how it stops and goes on.

    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1, 0.9), rng=rng)
    history = trainer.fit(x_train, y_train, epochs=20, checkpoint="run.safetensors")
    print(trainer.evaluate(x_test, y_test))
    history.plot("curves.png")

After Ctrl-C, or another day, ``trainer.load("run.safetensors")`` before `fit` goes on to the same bits.
"""

from .early_stopping import EarlyStopping
from .guard import NonFiniteError
from .history import History
from .metrics import Mean, accuracy, confusion_matrix, top_k
from .trainer import Trainer

__all__ = ["EarlyStopping", "History", "Mean", "NonFiniteError", "Trainer", "accuracy", "confusion_matrix", "top_k"]
