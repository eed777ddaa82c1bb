"""Schedules: the rate over time

Large steps at first, to get there; small ones at the end, to settle. A schedule is a function of the number of the step
or epoch, simple ones make up composed ones, and each draws itself.

    python examples/schedules.py [schedules.png]

needs `pip install ".[docs]"`
"""

from convkit.cli._example import picture_script

from matplotlib.figure import Figure

from convkit.optim import schedules

BLUE, FAINT = "#2166ac", "#666666"
EPOCHS = 60
SCHEDULES = {
    "Step(10)": (schedules.Step(10), "halved every 10 epochs"),
    "MultiStep([30, 45])": (schedules.MultiStep([30, 45]), "a tenth at each milestone"),
    "Exponential(0.93)": (schedules.Exponential(0.93), "7 % less every epoch"),
    "Linear(60)": (schedules.Linear(60), "a straight line to zero"),
    "Cosine(60)": (schedules.Cosine(60), "flat at both ends, steep between"),
    "WarmUp(8)": (schedules.WarmUp(8), "rises, then stays"),
    "Sequence([WarmUp(8), Cosine(52)], [8])": (
        schedules.Sequence([schedules.WarmUp(8), schedules.Cosine(52)], [8]),
        "one after the other",
    ),
    "Product([Step(15), Cosine(60)])": (
        schedules.Product([schedules.Step(15), schedules.Cosine(60)]),
        "both at once, multiplied",
    ),
    "Sequence([Cosine(20, end=0.1)] * 3, [20, 40])": (
        schedules.Sequence([schedules.Cosine(20, end=0.1)] * 3, [20, 40]),
        "warm restarts",
    ),
}


def main(picture):
    figure = Figure(figsize=(12, 8), dpi=120, layout="constrained")
    axes = figure.subplots(3, 3, sharex=True, sharey=True)
    for ax, (call, (schedule, says)) in zip(axes.flat, SCHEDULES.items(), strict=True):
        schedule.plot(ax, span=EPOCHS)
        ax.lines[0].set(color=BLUE, linewidth=2)
        ax.fill_between(*ax.lines[0].get_data(), color=BLUE, alpha=0.08, linewidth=0)
        ax.set_title("")  # the schedule's own, in the middle
        ax.set_title(call, loc="left", fontsize=11)
        ax.text(EPOCHS, 1.12, says, ha="right", va="top", fontsize=10, color=FAINT)
        ax.set(xlim=(0, EPOCHS), ylim=(0, 1.15), xlabel="epoch", ylabel="share of the rate")
        ax.spines[["top", "right"]].set_visible(False)
        ax.label_outer()
    figure.savefig(picture)
    print(f"written: {picture}")


if __name__ == "__main__":
    picture_script(main, __doc__)
