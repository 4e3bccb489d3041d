"""All learning rate schedules in one picture.

    python examples/schedules.py [--out runs/schedules] [--quick]

Writes ``schedules.png``. Nothing is trained: a schedule is a pure function of the update number.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from minigrad import schedules as s

STEPS = 1000

PICTURE = {  # by rows: decays for ever, decays to an end, up and down, and what is made of them
    "constant(1)": s.constant(1),
    "step(1, 250, gamma=0.5)": s.step(1, 250, gamma=0.5),
    "multistep(1, (300, 600, 900), gamma=0.3)": s.multistep(1, (300, 600, 900), gamma=0.3),
    "exponential(1, 0.996)": s.exponential(1, 0.996),
    "inverse_time(1, 0.01)": s.inverse_time(1, 0.01),
    "inverse_sqrt(1)": s.inverse_sqrt(1),
    "linear(1, 800)": s.linear(1, 800),
    "polynomial(1, 800, power=3)": s.polynomial(1, 800, power=3),
    "cosine(1, 800, eta_min=0.1)": s.cosine(1, 800, eta_min=0.1),
    "one_cycle(1, 1000)": s.one_cycle(1, 1000),
    "trapezoid(1, 1000, warmup=100, cooldown=300)": s.trapezoid(1, 1000, warmup=100, cooldown=300),
    "cosine_restarts(1, 250)": s.cosine_restarts(1, 250),
    "cosine_restarts(1, 143, T_mult=2, decay=0.7)": s.cosine_restarts(1, 143, T_mult=2, decay=0.7),
    "cyclic(0.1, 1, 125)": s.cyclic(0.1, 1, 125),
    'cyclic(0.1, 1, 125, mode="triangular2")': s.cyclic(0.1, 1, 125, mode="triangular2"),
    'cyclic(..., mode="exp_range", gamma=0.998)': s.cyclic(0.1, 1, 125, mode="exp_range", gamma=0.998),
    "warmup(cosine(1, 800), 200)": s.warmup(s.cosine(1, 800), 200),
    "warmup(cosine(1, 1000), 200, inside=True)": s.warmup(s.cosine(1, 1000), 200, inside=True),
    "scale(cosine(1, 1000), cyclic(0.5, 1, 50))": s.scale(s.cosine(1, 1000), s.cyclic(0.5, 1, 50)),
    "join([constant(1), linear(0.5, 400)], [600])": s.join([s.constant(1), s.linear(0.5, 400)], [600]),
    "repeat(linear(1, 200), 200)": s.repeat(s.linear(1, 200), 200),
    "per_epoch(exponential(1, 0.8), 100)": s.per_epoch(s.exponential(1, 0.8), 100),
    "per_epoch(..., 100, smooth=True)": s.per_epoch(s.exponential(1, 0.8), 100, smooth=True),
    "warmup(inverse_sqrt(14.1), 200, inside=True)": s.warmup(s.inverse_sqrt(14.1), 200, inside=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="A picture of all schedules.")
    parser.add_argument("--out", type=Path, default=Path("runs/schedules"), help="folder for the picture")
    parser.add_argument("--quick", action="store_true", help="the first row alone, to see that it runs")
    arguments = parser.parse_args()

    shown = dict(list(PICTURE.items())[: 4 if arguments.quick else None])
    rows = len(shown) // 4
    figure = Figure(figsize=(15, 2.1 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, 4, sharex=True, sharey=True, squeeze=False)
    for i, (axes, (name, schedule)) in enumerate(zip(panels.flat, shown.items(), strict=True)):
        schedule.plot(STEPS, axes)
        axes.lines[0].set(color=f"C{i // 4}", lw=2)
        axes.fill_between(range(STEPS), schedule(range(STEPS)), color=f"C{i // 4}", alpha=0.12, lw=0)
        axes.set_title(name, fontsize=9, family="monospace")
        axes.set(ylim=(0, 1.08), xlim=(0, STEPS), xticks=(0, 500, 1000), yticks=(0, 0.5, 1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.supxlabel("update", fontsize=11)
    figure.supylabel("learning rate", fontsize=11)
    arguments.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out / "schedules.png", dpi=60 if arguments.quick else 130)
    print(f"saved {arguments.out / 'schedules.png'}: {len(shown)} schedules")


if __name__ == "__main__":
    main()
