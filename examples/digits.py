"""Train an MLP on the bundled handwritten digits and report how well it reads them.

    python examples/digits.py [--out runs/digits] [--seed 0] [--epochs 200]

Writes ``digits.png`` (loss and accuracy by epoch) and ``digits.safetensors``
(the weights) into the output folder.
"""

import argparse
from pathlib import Path

import numpy as np

import minigrad as mg
from minigrad import nn, optim, schedules
from minigrad.data import load_digits, split
from minigrad.preprocessing import StandardScaler
from minigrad.training import evaluate, fit, load, predict, save


def make_model(seed: int) -> nn.Sequential:
    rng = mg.random.Generator(seed)
    return nn.Sequential(
        nn.Linear(64, 128, rng=rng.spawn()),
        nn.ReLU(),
        nn.Dropout(0.2, rng=rng.spawn()),
        nn.Linear(128, 64, rng=rng.spawn()),
        nn.ReLU(),
        nn.Dropout(0.2, rng=rng.spawn()),
        nn.Linear(64, 10, rng=rng.spawn()),
    )


def seconds_per_step(train: tuple[np.ndarray, np.ndarray], capture: bool) -> float:
    """What a step takes in the quickest of five epochs of a model that is thrown away."""
    model = make_model(0)
    optimizer = optim.AdamW(model.parameters(), lr=schedules.cosine(2e-3, 1000), weight_decay=1e-2)
    history = fit(model, train, optimizer=optimizer, epochs=5, batch_size=32, rng=0, progress=False, capture=capture)
    return min(epoch.seconds / epoch.steps for epoch in history.epochs)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Counts, true digits down, predicted ones across."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Train an MLP on handwritten digits.")
    parser.add_argument("--out", type=Path, default=Path("runs/digits"), help="folder for the picture and the weights")
    parser.add_argument("--seed", type=int, default=0, help="fixes weights, batches and dropout; the split is fixed")
    parser.add_argument("--epochs", type=int, default=200, help="at most; early stopping usually ends sooner")
    arguments = parser.parse_args()

    images, labels = load_digits()
    rows = images.reshape(len(images), -1).astype(np.float32)
    (x, y), (x_val, y_val), (x_test, y_test) = split(rows, labels, fractions=(0.6, 0.2, 0.2), rng=0)
    scaler = StandardScaler().fit(x)  # on the training part only
    x, x_val, x_test = (scaler.transform(part) for part in (x, x_val, x_test))

    model = make_model(arguments.seed)
    steps = arguments.epochs * -(-len(x) // 32)
    optimizer = optim.AdamW(model.parameters(), lr=schedules.cosine(2e-3, steps), weight_decay=1e-2)
    print(model)
    history = fit(
        model,
        (x, y),
        optimizer=optimizer,
        epochs=arguments.epochs,
        validation=(x_val, y_val),
        patience=30,
        batch_size=32,
        rng=mg.random.Generator(arguments.seed + 1),
        capture=True,  # record the step once, replay it without Python
    )

    arguments.out.mkdir(parents=True, exist_ok=True)
    weights, picture = arguments.out / "digits.safetensors", arguments.out / "digits.png"
    save(weights, model)
    restored = make_model(arguments.seed + 1)
    load(weights, restored)
    predicted = predict(restored, x_test).argmax(axis=1)
    loss, accuracy = evaluate(restored, (x_test, y_test))
    try:
        history.plot(picture)
    except ImportError as error:
        print(error)
        picture = None

    print(
        f"\n{'stopped early' if history.stopped_early else 'ran to the end'} after {len(history.epochs)} epochs;"
        f" kept the weights of epoch {history.best_epoch}"
    )
    print(
        f"time per step: {1e6 * history.seconds_per_step:.0f} us over {history.steps} steps"
        f" (target {mg.kernels.active()}, {mg.num_threads()} threads)"
    )
    eager, replayed = (seconds_per_step((x, y), capture) for capture in (False, True))
    print(f"capture: {1e6 * replayed:.0f} us a step, {1e6 * eager:.0f} without it ({eager / replayed:.1f} times)")
    print("confusion matrix on the test part (true digit down, predicted across):")
    print(confusion_matrix(y_test, predicted))
    print(f"saved {weights}" + (f" and {picture}" if picture else ""))
    print(f"test loss: {loss:.4f}")
    print(f"accuracy: {100 * accuracy:.1f} %")


if __name__ == "__main__":
    main()
