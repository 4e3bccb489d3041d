import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import minigrad as mg
from minigrad import nn, optim
from minigrad.preprocessing import PCA, OneHotEncoder, Pipeline, StandardScaler, Whitening
from minigrad.training import load, load_weights, save, save_weights


class Model(nn.Module):
    def __init__(self, seed: int) -> None:
        self.layers = nn.Sequential(nn.Linear(3, 2, rng=seed), nn.Dropout(0.1), nn.Linear(2, 2, rng=seed + 1))
        self.tied = self.layers[2].weight  # type: ignore[attr-defined]
        self.scale = nn.Parameter(np.array(seed + 0.5))
        self.steps = nn.Buffer(np.array([seed], np.int64))


def state(model: nn.Module) -> dict[str, bytes]:
    return {path: array.tobytes() for path, array in model.state_dict().items()}


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    model, other = Model(0), Model(7)
    model.scale.assign_(np.nan)
    save(tmp_path / "model.safetensors", model)
    load(str(tmp_path / "model.safetensors"), other)
    assert state(model) == state(other)
    assert other.tied is other.layers[2].weight  # type: ignore[attr-defined]
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_the_file_is_safetensors_with_prefixed_names_and_a_version(tmp_path: Path) -> None:
    model = Model(3)
    save(tmp_path / "m", model)
    with safe_open(tmp_path / "m", framework="np") as file:
        assert file.metadata() == {"minigrad": "1"}
        assert set(file.keys()) == {f"model.{path}" for path in model.state_dict()}
        np.testing.assert_array_equal(file.get_tensor("model.layers.0.weight"), model.state_dict()["layers.0.weight"])


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    place = tmp_path / "model"
    save(place, Model(0))
    before = place.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(failing, fail)
        with pytest.raises(type(error)):
            save(place, Model(1))
    assert place.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]
    save(place, Model(1))
    assert place.read_bytes() != before


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    save(tmp_path / "model", Model(0))
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("kept", [0, 1, 8, 100, 0.5, -1])
def test_a_damaged_file_is_refused_before_anything_is_written(tmp_path: Path, kept: float) -> None:
    place, model = tmp_path / "model", Model(0)
    save(place, Model(1))
    content = place.read_bytes()
    place.write_bytes(content[: int(kept * len(content)) if kept == 0.5 else int(kept)])
    before = state(model)
    with pytest.raises(ValueError, match="is damaged or no checkpoint"):
        load(place, model)
    assert state(model) == before


def test_other_files_are_refused(tmp_path: Path) -> None:
    place, model = tmp_path / "file", Model(0)
    before = state(model)
    place.write_bytes(pickle.dumps(model.state_dict()))
    with pytest.raises(ValueError, match="is damaged or no checkpoint"):
        load(place, model)
    arrays = {f"model.{path}": array for path, array in Model(1).state_dict().items()}
    for metadata, found in ((None, "None"), ({"minigrad": "2"}, "2")):
        save_file(arrays, place, metadata)
        with pytest.raises(ValueError, match=rf"no minigrad checkpoint of format 1 \(found {found}\)"):
            load(place, model)
    for missing in (tmp_path / "nothing", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
            load(missing, model)
    assert state(model) == before


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (nn.Linear(3, 2), KeyError, r"missing \['layers.0.bias'.*unexpected \['bias', 'weight'\]"),
        (nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), KeyError, "the state does not fit the model"),
    ],
)
def test_a_checkpoint_of_another_model_changes_nothing(tmp_path: Path, other: Any, error: Any, message: str) -> None:
    model = Model(0)
    before = state(model)
    save(tmp_path / "other", other)
    with pytest.raises(error, match=message):
        load(tmp_path / "other", model)
    assert state(model) == before


def test_another_shape_is_named(tmp_path: Path) -> None:
    save(tmp_path / "wide", nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"weight has shape \(2, 3\), the state has \(2, 5\)"):
        load(tmp_path / "wide", nn.Linear(3, 2))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        save(tmp_path / "nowhere" / "model", nn.Linear(1, 1))


def test_a_loaded_model_computes_the_same(tmp_path: Path) -> None:
    model, other = Model(0).eval(), Model(1).eval()
    save(tmp_path / "model", model)
    load(tmp_path / "model", other)
    x = mg.ones((4, 3))
    np.testing.assert_array_equal(model.layers(x).numpy(), other.layers(x).numpy())


def test_buffers_are_part_of_a_checkpoint(tmp_path: Path) -> None:
    model, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    for _ in range(2):
        model(np.random.default_rng(0).standard_normal((5, 3), np.float32))
    save(tmp_path / "model", model)
    load(tmp_path / "model", other)
    assert state(model) == state(other)
    assert other.num_batches_tracked is not None
    assert other.num_batches_tracked.item() == 2


def test_a_file_of_weights_is_the_state_alone_in_c_order(tmp_path: Path) -> None:
    model, other = Model(3), Model(4)
    save_weights(tmp_path / "weights", model)
    with safe_open(tmp_path / "weights", framework="np") as file:
        assert list(file.keys()) == sorted(model.state_dict())
        np.testing.assert_array_equal(file.get_tensor("layers.0.weight"), model.state_dict()["layers.0.weight"])
    assert load_weights(str(tmp_path / "weights"), other) == ([], [])
    assert state(model) == state(other)
    assert os.listdir(tmp_path) == ["weights"]


def test_weights_that_do_not_fit_are_named_or_left_alone(tmp_path: Path) -> None:
    model = nn.Linear(3, 2, rng=0)
    before = state(model)
    save_file({"weight": np.ones((2, 3), np.float32), "extra": np.ones(1)}, tmp_path / "weights")
    with pytest.raises(KeyError, match=r"missing \['bias'\], unexpected \['extra'\]"):
        load_weights(tmp_path / "weights", model)
    assert state(model) == before
    assert load_weights(tmp_path / "weights", model, strict=False) == (["bias"], ["extra"])
    assert model.weight.data.all()
    assert state(model)["bias"] == before["bias"]
    (tmp_path / "weights").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="is damaged or no safetensors file"):
        load_weights(tmp_path / "weights", model)
    with pytest.raises(FileNotFoundError, match="there is no safetensors file"):
        load_weights(tmp_path / "nothing", model)


def test_half_precision_is_read_and_bfloat16_named(tmp_path: Path) -> None:
    model = nn.Linear(1, 1, bias=False)
    save_file({"weight": np.array([[1.5]], np.float16)}, tmp_path / "half")
    load_weights(tmp_path / "half", model)
    assert model.weight.data == 1.5
    header = b'{"weight":{"dtype":"BF16","shape":[1,1],"data_offsets":[0,2]}}'
    (tmp_path / "brain").write_bytes(len(header).to_bytes(8, "little") + header + b"\x00\x40")
    with pytest.raises(TypeError, match=r"has numbers that NumPy has not; save them as float32: .*bfloat16"):
        load_weights(tmp_path / "brain", model)
    assert model.weight.data == 1.5


def test_what_preprocessing_has_learnt_comes_back_bit_for_bit(tmp_path: Path) -> None:
    def make() -> Pipeline:
        return Pipeline([("scale", StandardScaler()), ("pca", PCA(3)), ("white", Whitening("cholesky"))])

    rows = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    pipeline, other, model = make().fit(rows), make(), nn.Linear(3, 2)
    save(tmp_path / "model", model, preprocessing=pipeline)
    load(tmp_path / "model", nn.Linear(3, 2), preprocessing=other)
    np.testing.assert_array_equal(other.transform(rows), pipeline.transform(rows))
    assert other["pca"].partial_fit(rows).singular_values_.tolist() == (
        pipeline["pca"].partial_fit(rows).singular_values_.tolist()
    )
    load(tmp_path / "model", nn.Linear(3, 2))  # the weights alone
    with safe_open(tmp_path / "model", framework="np") as file:
        assert {"model.weight", "preprocessing.scale.mean_"} <= set(file.keys())
    colours, again = OneHotEncoder().fit([["rot"], ["grün"]]), OneHotEncoder()
    save(tmp_path / "colours", model, preprocessing=colours)
    load(tmp_path / "colours", model, preprocessing=again)
    assert again.categories_[0].tolist() == ["grün", "rot"]


def test_preprocessing_and_model_are_loaded_both_or_neither(tmp_path: Path) -> None:
    rows = np.arange(6.0).reshape(3, 2)
    save(tmp_path / "both", nn.Linear(2, 2), preprocessing=StandardScaler().fit(rows))
    save(tmp_path / "weights", nn.Linear(2, 2))
    for file, model, scaler, error in (
        ("both", nn.Linear(3, 2), StandardScaler().fit(-rows), ValueError),  # another model
        ("both", nn.Linear(2, 2), PCA(1).fit(-rows), KeyError),  # another transformer
        ("weights", nn.Linear(2, 2), StandardScaler().fit(-rows), KeyError),  # there is none
    ):
        weights, learnt = state(model), pickle.dumps(scaler)
        with pytest.raises(error):
            load(tmp_path / file, model, preprocessing=scaler)
        assert (state(model), pickle.dumps(scaler)) == (weights, learnt)
    with pytest.raises(ValueError, match="StandardScaler has learnt nothing yet"):
        save(tmp_path / "unfitted", nn.Linear(2, 2), preprocessing=StandardScaler())
    assert not (tmp_path / "unfitted").exists()


# With an optimizer and an average ---------------------------------------------------------------------------


def parts(seed: int, **options: Any) -> tuple[Model, optim.Optimizer, optim.EMA]:
    model = Model(seed)
    optimizer = optim.Adam(
        model.parameters(), amsgrad=True, max_norm=1.0, no_decay=True, skip_nonfinite=True, **options
    )
    return model, optimizer, optim.EMA(model.parameters(), 0.9, bias_correction=True)


def train(model: Model, optimizer: optim.Optimizer, average: optim.EMA, steps: int) -> list[bytes]:
    x = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        loss = (model.layers(x) ** 2).mean() + model.scale.astype(np.float32) ** 2
        (loss * (np.nan if step == 1 else 1)).backward()
        optimizer.step()
        average.update()
    arrays = [a for p, states in optimizer.state.items() for a in (p.data, *states)]
    return [a.tobytes() for a in (*arrays, *average.averages, optimizer.step_count, average.count)]


def test_training_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    """Dropout draws on, and numbers that were set by hand are kept."""
    ours, other = parts(0, lr=0.1), parts(5, lr=0.5)
    ours[1].param_groups[0]["betas"] = (0.5, 0.7)
    train(*ours, steps=4)
    save(tmp_path / "all", *ours)
    load(tmp_path / "all", *other)
    assert other[1].param_groups[0]["betas"] == (0.5, 0.7)
    assert other[1].skipped == ours[1].skipped == 1
    assert train(*ours, steps=3) == train(*other, steps=3)
    alone = Model(9)
    load(tmp_path / "all", alone)
    with safe_open(tmp_path / "all", framework="np") as file:
        names = set(file.keys())
    assert {"optimizer.layers.0.weight.max_exp_avg_sq", "average.scale", "model.scale"} <= names


def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    model, optimizer, average = parts(0)
    save(tmp_path / "model", model)
    save(tmp_path / "all", model, optimizer, average)
    other = parts(1)
    before = state(other[0]), train(*other, steps=0)
    wrong = optim.SGD(other[0].parameters(), lr=0.1, momentum=0.9)
    numbers = optim.Adam(other[0].parameters(), amsgrad=True)
    few = optim.EMA([other[0].scale])
    for place, others, error in [
        ("model", (other[1], None), KeyError),
        ("model", (None, other[2]), KeyError),
        ("all", (wrong, None), KeyError),
        ("all", (numbers, None), KeyError),
        ("all", (other[1], few), KeyError),
        ("all", (optim.SGD([nn.Parameter(np.ones(1))], lr=0.1), None), ValueError),
    ]:
        with pytest.raises(error):
            load(tmp_path / place, other[0], *others)
        assert (state(other[0]), train(*other, steps=0)) == before
    with pytest.raises(ValueError, match="the average has a tensor that is not the model's"):
        save(tmp_path / "all", model, None, optim.EMA([nn.Parameter(np.ones(1))]))
    with pytest.raises(TypeError, match="a checkpoint takes an Optimizer, not LBFGS"):
        save(tmp_path / "all", model, optim.LBFGS(model.parameters()))  # type: ignore[arg-type]


def test_damaged_numbers_change_nothing_not_even_the_first_of_two_streams(tmp_path: Path) -> None:
    def make(seed: int) -> Any:
        model = nn.Sequential(nn.Dropout(rng=seed), nn.Linear(2, 2, rng=seed), nn.Dropout(rng=seed + 1))
        return model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    save(tmp_path / "model", *make(0))
    with safe_open(tmp_path / "model", framework="np") as file:
        arrays, numbers = {k: file.get_tensor(k) for k in file.keys()}, file.metadata()  # noqa: SIM118
    streams = json.loads(numbers["generators"])
    model, optimizer = make(5)
    before = state(model), optimizer.state_dict()["groups"], {k: g.state() for k, g in model.named_generators()}
    for part, text in [
        *(("generators", json.dumps(streams | {"2.rng": bad})) for bad in (None, 3, {}, {"key": 1, "counter": 2})),
        *(
            ("generators", json.dumps(streams | {"2.rng": streams["0.rng"] | {"children": n}}))
            for n in (-1, 2**64, "x")
        ),
        *((part, text) for part in ("generators", "optimizer") for text in ("{", "[]", "null")),
        ("optimizer", json.dumps(json.loads(numbers["optimizer"]) | {"step": 2**63})),
    ]:
        save_file(arrays, tmp_path / "bad", {**numbers, part: text})
        with pytest.raises(ValueError, match=r"generator|damaged|step"):
            load(tmp_path / "bad", model, optimizer)
        after = state(model), optimizer.state_dict()["groups"], {k: g.state() for k, g in model.named_generators()}
        assert after == before


def test_model_and_path_the_wrong_way_round_are_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="takes a path and a model, in this order; got a str as the model"):
        save(Model(0), "place")  # type: ignore[arg-type]
