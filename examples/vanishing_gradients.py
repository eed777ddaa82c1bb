"""Vanishing and exploding gradients

Going back through a layer multiplies the gradient, by the weights and by the slope of the activation, and twenty layers
multiply twenty times. A sigmoid's slope is at most 1/4: little arrives. ReLU's is 0 or 1, so that weights of the right
size (He's) keep the gradient as large as it is; half or twice that size is too small or too large. And a ReLU that is
pushed below zero for all samples gets no gradient any more: it is dead.

    python examples/vanishing_gradients.py [vanishing_gradients.png] [--quick]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

import numpy as np
from matplotlib.figure import Figure

from convkit import data, nn, optim

WIDTH, DEPTH = 64, 20
RATES = (0.01, 0.03, 0.1, 0.3, 1, 3)


def scaled_he(scale):
    """He's initialisation, times `scale`."""
    return lambda shape, *, rng, dtype: nn.init.he(shape, rng=rng, dtype=dtype) * np.asarray(scale, dtype)


NETWORKS = {  # name, colour, line style, activation, initialiser
    "sigmoid, Glorot": ("#762a83", "-", nn.Sigmoid, "glorot"),
    "tanh, Glorot": ("#1b7837", "-", nn.Tanh, "glorot"),
    "ReLU, half of He": ("#d9780f", "--", nn.ReLU, scaled_he(0.5)),
    "ReLU, He": ("#2166ac", "-", nn.ReLU, "he"),
    "ReLU, twice He": ("#b2182b", "--", nn.ReLU, scaled_he(2)),
}


def network(depth, activation, init, rng):
    """Hidden layers of one width, and ten scores; Linear and activation take turns."""
    sizes = [64, *[WIDTH] * depth]
    hidden = [nn.Linear(a, b, init=init, rng=rng) for a, b in zip(sizes, sizes[1:], strict=False)]
    layers = [part for linear in hidden for part in (linear, activation())]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10, init="glorot", rng=rng))


def flow(activation, init, x, y):
    """Size (root mean square) of each hidden layer's output, and of the gradient there, before any training."""
    model, sizes, slopes = network(DEPTH, activation, init, np.random.default_rng(0)), [], []

    def forward(layer, inputs, output):
        if isinstance(layer, activation):
            sizes.append(rms(output))

    def backward(layer, grad, input_grad):
        if isinstance(layer, activation):
            slopes.insert(0, rms(grad))

    with nn.hooks(forward, backward):
        scores, back = model.begin(x)
        back(nn.losses.softmax_cross_entropy(scores, y).grad)
    return sizes, slopes


def rms(array):
    return np.sqrt(np.mean(np.square(array, dtype=np.float64)))


def dead_share(rate, x, y, epochs):
    """Per cent of three layers' ReLUs that are 0 for every sample after training, and of the samples that are right."""
    rng = np.random.default_rng(0)
    model = network(3, nn.ReLU, "he", rng)
    optimizer = optim.SGD(model.parameters(), lr=rate)
    for _ in range(epochs):
        for inputs, labels in data.minibatches(x, y, 32, rng=rng):
            loss = nn.losses.softmax_cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            model.backward(loss.grad, need_input=False)
            optim.clip_grad_norm(model.parameters(), 10)  # without it, the largest rates end in NaN
            optimizer.step()
    silent = [np.all(model[: 2 * i](x) == 0, axis=0) for i in (1, 2, 3)]
    return 100 * np.mean(silent), 100 - 100 * nn.losses.zero_one(model(x), y).value


def main(picture, quick):
    split = data.digits_split()
    x, y = split.x_train.reshape(-1, 64), split.y_train
    x = (x - x.mean()) / x.std()
    figure = Figure(figsize=(13, 5), dpi=120, layout="constrained")
    signals, gradients, dead = figure.subplots(1, 3)
    for name, (colour, style, activation, init) in NETWORKS.items():
        sizes, slopes = flow(activation, init, x[:256], y[:256])
        for ax, values in ((signals, sizes), (gradients, slopes)):
            ax.semilogy(np.arange(1, DEPTH + 1), values, style, color=colour, linewidth=2, label=name)
    signals.set_title("forward: size of the layers' outputs", loc="left")
    gradients.set_title("backward: size of the gradients there", loc="left")
    gradients.legend(frameon=False, fontsize=10)
    for ax in (signals, gradients):
        ax.set(xlabel="layer, from the input", xlim=(1, DEPTH), xticks=(1, 5, 10, 15, 20))
    shares = [dead_share(rate, x, y, 1 if quick else 8) for rate in RATES]
    ticks = np.arange(len(RATES))
    dead.bar(ticks, [share for share, _ in shares], color="#2166ac", width=0.7)
    for tick, (share, right) in zip(ticks, shares, strict=True):
        dead.text(tick, share + 2, f"{right:.0f} %\nright", ha="center", fontsize=10, color="#666666")
    dead.set_title("dead ReLUs after training, and digits right", loc="left")
    dead.set(
        xticks=ticks, xticklabels=RATES, xlabel="rate of gradient descent", ylabel="dead, % of the ReLUs", ylim=(0, 112)
    )
    for ax in (signals, gradients, dead):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__, quick="fewer epochs")
