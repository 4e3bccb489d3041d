"""Two networks of PyTorch's with what they gave there: made by ``benchmarks/torch_layers.py --fixture``."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import minigrad as mg
from minigrad import nn, optim
from minigrad.training import load_weights, save_weights

PLACE = Path(__file__).with_name("pytorch.safetensors")
NAMES = {**vars(nn), "AdaptiveAvgPool2d": lambda size: nn.GlobalAvgPool2d()}  # which flattens, too


def read(network: str) -> tuple[Any, dict[str, Any]]:
    """Our network of the same description, and PyTorch's arrays."""
    with safe_open(PLACE, framework="np") as file:
        arrays = {k.removeprefix(network + "."): file.get_tensor(k) for k in file.keys() if k.startswith(network)}  # noqa: SIM118
        return eval(file.metadata()[network], dict(NAMES)), arrays


def part(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix + "."): a for k, a in arrays.items() if k.startswith(prefix + ".")}


def close(found: Any, wanted: Any) -> None:
    """To a few float32 roundings of the largest element."""
    bound = 16 * 2**-23 * max(np.abs(wanted).max(), 1e-30)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("network", ["mlp", "convnet"])
def test_pytorchs_weights_give_its_outputs_and_its_next_weights(target: str, tmp_path: Path, network: str) -> None:
    model, arrays = read(network)
    before = part(arrays, "before")
    assert {k: (a.shape, a.dtype) for k, a in model.state_dict().items()} == {
        k: (a.shape, a.dtype) for k, a in before.items()
    }
    save_file(before, tmp_path / "theirs")
    load_weights(tmp_path / "theirs", model)
    save_weights(tmp_path / "ours", model)
    with safe_open(tmp_path / "ours", framework="np") as file:
        for k in file.keys():  # noqa: SIM118
            assert file.get_tensor(k).tobytes() == before[k].tobytes()

    optimizer = optim.SGD(model.parameters(), lr=0.1)
    output = model(arrays["x"])
    loss = nn.CrossEntropyLoss()(output, arrays["labels"])
    loss.backward()
    optimizer.step()
    close(output.numpy(), arrays["output"])
    close(loss.numpy(), arrays["loss"])
    for k, array in part(arrays, "after").items():
        close(model.state_dict()[k], array)
        assert not k.endswith("weight") or (array != before[k]).any()
    close(model.eval()(mg.tensor(arrays["x"])).numpy(), arrays["evaluation"])
