"""A training that takes milliseconds and yet has everything whose state could be forgotten."""

import numpy as np

from convkit import data, nn, optim, train
from convkit.optim import schedules

N, BATCH = 42, 8  # 6 batches an epoch, the last one of 2


def samples(n=N):
    """Images 5x5 of three classes that can be told apart: a bright row, column or corner, in noise."""
    rng = np.random.default_rng(5)
    y = np.arange(n) % 3
    x = rng.normal(0, 0.3, (n, 1, 5, 5))
    x[y == 0, :, 2] += 1
    x[y == 1, :, :, 2] += 1
    x[y == 2, :, 3:, 3:] += 1
    return x.astype(np.float32), y


def network(rng, dropout=0.3):
    """A convolution, batch normalisation, dropout and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, rng=rng),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(dropout, rng=rng),
        nn.Flatten(),
        nn.Linear(150, 3, rng=rng),
    )


def trainer(seed=0, *, adam=False, **options):
    """Momentum or Adam, a schedule, shifted images, averaged weights, early stopping that never happens."""
    rng = np.random.default_rng(seed)
    model = network(rng)
    if adam:
        optimizer = optim.AdamW(model.parameters(), 0.01)
    else:
        optimizer = optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-3, nesterov=True)
    usual = {
        "schedule": schedules.Cosine(24),
        "transform": data.shift,
        "ema": optim.EMA(model, 0.9),
        "early_stopping": train.EarlyStopping("accuracy", 99),
        "rng": rng,
    }
    return train.Trainer(model, optimizer, **usual | options)


def fit(trained, epochs=3, **options):
    """Train on the samples."""
    return trained.fit(*samples(), epochs=epochs, batch_size=BATCH, progress=False, **options)
