"""The engine: what is recorded, in which order it is walked, what is kept, what is refused."""

import threading
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import autograd


def leaf(*values: float) -> mg.Tensor:
    return mg.tensor(list(values), requires_grad=True)


def steps_of(y: mg.Tensor, **arguments: Any) -> list[str]:
    """The names of the nodes that a backward pass visits, in order."""
    names: list[str] = []
    with autograd.observe(lambda node, g, gradients: names.append(node.op.name)):
        y.backward(**arguments)
    return names


def test_eighteen_doublings_cost_eighteen_steps() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(18):
        y = y + y
    assert steps_of(y) == ["add"] * 18
    assert x.grad is not None
    assert x.grad.item() == 2**18


def test_nodes_are_walked_newest_first() -> None:
    x = leaf(0.5)
    a, b = mg.exp(x), mg.sin(x)
    order: list[int] = []
    with autograd.observe(lambda node, g, gradients: order.append(node.order)):
        (a * b + a).sum().backward()
    assert order == sorted(order, reverse=True)


def test_only_what_a_rule_names_is_saved() -> None:
    x, c = leaf(1.0, 2.0), mg.tensor([3.0, 4.0])
    assert (x + c).node.saved == []
    node = (x * c).node
    assert node.names == ("b",)
    assert node.saved[0] is c.data
    assert mg.exp(x).node.names == ("y",)
    assert x.sum().node.names == ("x_shape",)


def test_no_node_without_need() -> None:
    x = leaf(1.0)
    assert (mg.ones(1) * 2).node is None
    assert (x > 0).node is None
    with mg.no_grad():
        assert (x * 2).node is None
        with mg.enable_grad():
            assert (x * 2).node is not None
    assert mg.no_grad()(lambda: x * 2)().node is None


def test_no_grad_holds_for_its_thread_only() -> None:
    seen = []
    with mg.no_grad():
        thread = threading.Thread(target=lambda: seen.append(mg.is_grad_enabled()))
        thread.start()
        thread.join()
        assert not mg.is_grad_enabled()
    assert seen == [True]


def test_gradients_accumulate_and_own_their_memory() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    seed = np.ones(2, np.float32)
    (x + y).backward(seed)
    seed[:] = 7
    assert x.grad is not None
    assert y.grad is not None
    assert not np.shares_memory(x.grad.data, y.grad.data)
    first = x.grad
    (x + y).backward(np.ones(2, np.float32))
    assert x.grad is first
    assert first.tolist() == [2.0, 2.0]


def test_a_gradient_has_its_leafs_memory_order() -> None:
    weight = mg.Tensor(np.asfortranarray(np.ones((3, 4), np.float32)), requires_grad=True)
    (weight * 2 + weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.data.strides == weight.data.strides


def test_a_freed_graph_is_refused_before_anything_changes() -> None:
    x = leaf(2.0)
    shared = x * x
    first, second = shared.sum(), (shared * 3).sum()
    first.backward()
    assert x.grad is not None
    before = x.grad.tolist()
    for loss in (first, second):
        with pytest.raises(mg.GraphError, match=r"freed by an earlier backward; pass retain_graph=True"):
            loss.backward()
    assert x.grad.tolist() == before


def test_a_freed_graph_is_never_taken_for_no_dependence() -> None:
    x, w = leaf(2.0), leaf(3.0)
    y = x * x
    y.sum().backward()
    for call in (
        lambda: mg.grad((y + x).sum(), x),
        lambda: mg.grad((y * w).sum(), x, allow_unused=True),
        lambda: (y + x).sum().backward(inputs=[x]),
    ):
        with pytest.raises(mg.GraphError, match=r"behind multiply was freed .* or detach\(\)"):
            call()
    assert mg.grad((y * 3).sum(), y)[0].tolist() == [3.0]  # up to where it was freed, it is still there
    assert mg.grad((y.detach() * w).sum(), w)[0].tolist() == [4.0]


def test_retain_graph_allows_another_pass() -> None:
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [12.0]


def test_create_graph_gives_any_order() -> None:
    x = leaf(2.0)
    y = (x**4).sum()
    for expected in (32.0, 48.0, 48.0, 24.0):
        (y,) = mg.grad(y.sum(), x, create_graph=True)
        assert y.tolist() == [expected]
    z = (x * x).sum()
    z.backward(create_graph=True)
    assert x.grad is not None
    assert x.grad.node is not None


def test_gradients_with_a_graph_own_their_memory_too() -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward(create_graph=True)
    (a * a + b).sum().backward(create_graph=True)
    assert a.grad is not None
    assert b.grad is not None
    assert not np.shares_memory(a.grad.data, b.grad.data)
    assert a.grad.tolist() == [3.0, 5.0]
    assert mg.grad(a.grad.sum(), a)[0].tolist() == [2.0, 2.0]
    (a + b).sum().backward()  # adds the numbers, and leaves the graph behind
    assert a.grad.node is None
    assert (a.grad.tolist(), b.grad.tolist()) == ([4.0, 6.0], [3.0, 3.0])


def test_a_gradient_that_is_a_broadcast_can_be_added_to() -> None:
    x = leaf(1.0, 2.0)
    x.sum().backward(create_graph=True)
    x.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 2.0]


def test_inputs_of_backward_and_grad() -> None:
    a, b = leaf(2.0), leaf(5.0)
    middle = a * b
    y = (middle * middle).sum()
    y.backward(inputs=[a], retain_graph=True)
    assert a.grad is not None
    assert b.grad is None
    gm, ga = mg.grad(y, [middle, a], retain_graph=True)
    assert (gm.tolist(), ga.tolist()) == ([20.0], [100.0])
    unrelated = leaf(1.0)
    with pytest.raises(RuntimeError, match="do not depend on input 1"):
        mg.grad(y, [a, unrelated], retain_graph=True)
    assert mg.grad(y, [a, unrelated], allow_unused=True)[1] is None
    with pytest.raises(ValueError, match="must be leaves that require grad"):
        (a * b).sum().backward(inputs=[middle])


def test_several_outputs_are_summed_with_their_cotangents() -> None:
    x = leaf(1.0, 2.0)
    (g,) = mg.grad([x * 2, x * x], x, [np.array([1.0, 0.0]), np.array([0.0, 1.0])])
    assert g.tolist() == [2.0, 4.0]
    with pytest.raises(ValueError, match="one grad_output for each of 2 outputs, got 1"):
        mg.grad([x * 2, x * x], x, [np.ones(2)])


def test_a_write_to_a_saved_array_is_noticed() -> None:
    x, w = leaf(1.0, 2.0), mg.tensor([3.0, 4.0])
    y = (x * w).sum()
    w.assign_(0)
    with pytest.raises(mg.GraphError, match=r"multiply needs its 'b' .* but assign_ has written"):
        y.backward()
    view = w.reshape(2, 1)
    y = (x.reshape(2, 1) * view).sum()
    w.assign_(1)  # through the other name of the same memory
    with pytest.raises(mg.GraphError, match="assign_ has written"):
        y.backward()
    with mg.debug():
        y = (x * w).sum()
        w.assign_(5.0)
        with pytest.raises(mg.GraphError) as caught:
            y.backward()
    assert str(caught.value).count("test_autograd.py:") == 2


def test_a_write_through_any_input_of_a_variadic_operation_is_noticed() -> None:
    @mg.operation(joint=lambda g, xs: [g * x * 2 for x in xs])
    def sum_of_squares(*xs: Any) -> Any:
        return sum(x * x for x in xs)

    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = sum_of_squares(a, b).sum()
    y.backward(retain_graph=True)
    assert b.grad is not None
    assert b.grad.tolist() == [6.0, 8.0]
    with mg.no_grad():
        b.assign_(0)
    with pytest.raises(mg.GraphError, match="sum_of_squares needs its 'xs'"):
        y.backward()


def test_a_recorded_result_cannot_be_written_to_by_another_name() -> None:
    x, w = leaf(1.0, 2.0), leaf(1.0, 1.0)
    y = mg.exp(x)
    loss = (y * w).sum()
    with mg.no_grad():
        view = y[:1]
    for name in (y.detach(), view, y.detach().reshape(2, 1)):
        with pytest.raises(RuntimeError, match=r"not into the result of exp; minigrad\.tensor\(\) copies it"):
            name.assign_(0)
    loss.backward()
    assert w.grad is not None
    np.testing.assert_allclose(w.grad.data, np.exp([1, 2]), rtol=1e-6)


def test_a_write_through_a_recorded_view_of_a_leaf_is_noticed() -> None:
    x = leaf(1.0, 2.0)
    y = mg.exp(x[:1]) * x[1:]
    x.reshape(2, 1).detach().assign_(5.0)
    with pytest.raises(mg.GraphError, match="assign_ has written"):
        y.backward()


def test_a_write_that_no_rule_needs_is_allowed() -> None:
    x, c = leaf(1.0), mg.tensor([3.0])
    y = (x + c).sum()
    c.assign_(9)
    y.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: (x * 2).backward(), RuntimeError, r"needs a scalar, got shape \(2,\)"),
        (lambda x: (x * 2).backward(np.ones(3)), ValueError, r"gradient of shape \(3,\) for a tensor of shape \(2,\)"),
        (lambda x: mg.ones(()).backward(), RuntimeError, "computed from one that requires grad"),
        (lambda x: mg.grad(x.sum(), [mg.ones(2)]), ValueError, "input 0 of grad"),
        (lambda x: mg.tensor([1, 2], requires_grad=True), TypeError, "only floating-point tensors .* got int64"),
        (lambda x: x + None, TypeError, "add takes tensors, arrays and numbers, got NoneType"),
        (lambda x: x.sum(axis=3), np.exceptions.AxisError, "axis 3 is out of bounds"),
        (lambda x: mg.exp(x, 1), TypeError, "too many positional arguments"),
    ],
)
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(leaf(1.0, 2.0))


# Operations of one's own -------------------------------------------------------------------


def test_a_missing_cotangent_is_none() -> None:
    seen = []

    def rule(g: Any, x: Any) -> Any:
        seen.append(tuple(part is None for part in g))
        return g[1] * x * 2 if g[0] is None else g[0]

    @mg.operation(x=rule, outputs=("same", "squared"))
    def pair(x: Any, /) -> Any:
        return x.copy(), x * x

    x = leaf(3.0)
    _, squared = pair(x)
    squared.backward()
    assert seen == [(True, False)]
    assert x.grad is not None
    assert x.grad.tolist() == [6.0]


@pytest.mark.parametrize("planted", [lambda g: g.sum(), lambda g: mg.concat([g, g]), lambda g: g.reshape(1, 3)])
def test_a_rule_with_a_wrong_shape_is_refused(planted: Any) -> None:
    @mg.operation(x=planted)
    def same(x: Any, /) -> Any:
        return x.copy()

    with pytest.raises(mg.GraphError, match=r"a rule of same gave a gradient of shape .* for an input of shape \(3,\)"):
        same(leaf(1.0, 2.0, 3.0)).backward(np.ones(3))


def test_a_rule_of_a_broadcasting_operation_cannot_pass_off_another_shape() -> None:
    @mg.operation(a=lambda g, b: (g * b).T, b=lambda g, a: g * a, broadcasts=True)
    def multiply(a: Any, b: Any, /) -> Any:
        return a * b

    a = mg.ones((2, 3), requires_grad=True)
    with pytest.raises(
        mg.GraphError, match=r"multiply gave a gradient of shape \(3, 2\) for an input of shape \(2, 3\)"
    ):
        multiply(a, mg.ones((2, 3))).sum().backward()


@pytest.mark.parametrize("value", [np.float64(2.5), 2.5, 3, np.array(2.5)])
def test_a_forward_function_may_give_numbers(value: Any) -> None:
    @mg.operation()
    def constant(x: Any, /) -> Any:
        return value

    y = constant(mg.ones(2))
    assert isinstance(y.data, np.ndarray)
    assert y.item() == value


@pytest.mark.parametrize("value", [None, (np.ones(2), np.ones(2)), "a", np.complex64(1)])
def test_a_forward_function_that_gives_something_else_is_named(value: Any) -> None:
    @mg.operation()
    def strange(x: Any, /) -> Any:
        return value

    with pytest.raises(TypeError, match=r"strange should give an array for each of \('y',\), its forward gave"):
        strange(mg.ones(2))


def test_array_attributes_by_position_and_by_name() -> None:
    @mg.operation(x=lambda g, weights: g * weights)
    def weighted(x: Any, /, weights: Any) -> Any:
        return x * weights

    weights = np.array([1.0, 2.0, 3.0], np.float32)
    for y in (weighted(leaf(1.0, 1.0, 1.0), weights), weighted(leaf(1.0, 1.0, 1.0), weights=weights)):
        assert y.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(TypeError, match="weighted needs 'weights'"):
        weighted(leaf(1.0))


def test_a_rule_may_name_only_what_there_is() -> None:
    with pytest.raises(TypeError, match="a rule of f names 'z'"):
        mg.operation(x=lambda g, z: g)(_named_f())
    with pytest.raises(TypeError, match=r"f has rules for \['z'\]"):
        mg.operation(z=lambda g: g)(_named_f())


def test_no_parameter_is_named_like_the_cotangent() -> None:
    with pytest.raises(TypeError, match="scaled cannot have a parameter or an output g"):

        @mg.operation(x=lambda g: g)
        def scaled(x: Any, /, g: float) -> Any:
            return x * g


def _named_f() -> Any:
    def f(x: Any, /) -> Any:
        return x

    return f


def test_observers_do_not_nest() -> None:
    with (
        autograd.observe(lambda *step: None),
        pytest.raises(RuntimeError, match="backward passes are being observed already"),
        autograd.observe(lambda *step: None),
    ):
        pass
    assert steps_of(leaf(1.0).sum()) == ["sum"]


def test_kernel_calls_pass_the_observer() -> None:
    names = []

    def watch(call: Any) -> None:
        names.append(call.kernel)
        call.run()

    x = leaf(1.0, 2.0)
    with mg.kernels.observe(watch):
        (mg.exp(x) * 2).sum().backward()
    assert names[:3] == ["exp", "multiply", "sum"]
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.data, 2 * np.exp(x.data), rtol=1e-6)


# Whose memory a gradient is -----------------------------------------------------------------------


def memories_are_apart(*tensors: Any) -> bool:
    return not any(np.shares_memory(a.data, b.data) for i, a in enumerate(tensors) for b in tensors[:i])


def test_leaves_of_one_cotangent_get_memory_of_their_own() -> None:
    a, b, seed = leaf(1.0, 2.0), leaf(3.0, 4.0), mg.tensor([5.0, 6.0])
    (a + b).backward(seed)
    assert memories_are_apart(a.grad, b.grad, seed)
    (a + b).backward(seed)
    assert a.grad.tolist() == b.grad.tolist() == [10.0, 12.0]
    assert seed.tolist() == [5.0, 6.0]


def test_a_gradient_that_a_rule_keeps_is_copied() -> None:
    kept: list[Any] = []

    def rule(g: Any) -> Any:
        kept.append(g * 2)
        return kept[-1]

    @mg.operation(x=rule)
    def doubled(x: Any, /) -> Any:
        return x * 2

    @mg.operation(x=lambda g: mg.Tensor(rule(g).data))
    def through_another_tensor(x: Any, /) -> Any:
        return x * 2

    @mg.operation(x=lambda g: rule(g).reshape((1, -1)).reshape(-1))
    def through_a_view(x: Any, /) -> Any:
        return x * 2

    for operation in (doubled, through_another_tensor, through_a_view):
        x = leaf(1.0, 1.0)
        for _ in range(2):
            operation(x).sum().backward()
        assert x.grad.tolist() == [4.0, 4.0]
        assert memories_are_apart(x.grad, *kept)
        assert all(g.tolist() == [2.0, 2.0] for g in kept)


def test_a_gradient_that_an_observer_keeps_is_copied() -> None:
    x = leaf(1.0, 2.0)
    seen: list[Any] = []
    for _ in range(2):
        with autograd.observe(lambda node, g, gradients: seen.append((g, *gradients))):
            (x * x + x * 3).backward(mg.ones(2))
    assert all(memories_are_apart(x.grad, t) for step in seen for t in step if t is not None)
    sums = [t.tolist() for step in seen for t in step if t is not None]
    assert sums[: len(sums) // 2] == sums[len(sums) // 2 :], "what was seen has not been written to"
    assert x.grad.tolist() == [10.0, 14.0]


def test_a_gradient_that_nobody_holds_is_kept_without_a_copy() -> None:
    x, w = leaf(1.0, 2.0), mg.nn.Linear(3, 2)
    calls: list[str] = []

    def watch(call: Any) -> None:
        calls.append(call.kernel)
        call.run()

    with mg.kernels.observe(watch):
        (x * 3).backward(mg.ones(2))
        w(mg.ones((4, 3))).backward(mg.ones((4, 2)))
    assert "copy" not in calls
    assert w.weight.grad.data.strides == w.weight.data.strides


def test_a_rule_may_ask_what_is_needed() -> None:
    asked: list[Any] = []

    def joint(g: Any, a: Any, b: Any, needs: Any) -> Any:
        asked.append(needs)
        return tuple(g * other if need else None for other, need in zip((b, a), needs, strict=True))

    @mg.operation(joint=joint)
    def product(a: Any, b: Any, /) -> Any:
        return a * b

    x, y = leaf(2.0), leaf(3.0)
    product(x, mg.tensor([5.0])).backward()
    product(x, y).backward(inputs=[y])
    mg.grad(product(x, y), (x, y))
    assert asked == [[True, False], [False, True], [True, True]]
    assert (x.grad.tolist(), y.grad.tolist()) == ([5.0], [2.0])
    with pytest.raises(TypeError, match="cannot have a parameter or an output g or needs"):
        mg.operation()(lambda needs, /: needs)


@pytest.mark.parametrize("joint", [False, True])
def test_an_operation_may_be_a_rule(joint: bool) -> None:
    took: list[type] = []

    def forward(dy: Any, b: Any, a: Any, /, wanted: Any, times: float) -> Any:
        took.append(type(dy))
        parts = [dy * other * times if need else None for other, need in zip((b, a), wanted, strict=True)]
        return (*parts, None) if joint else parts[0]

    rules: dict[str, Any] = {"b": lambda g, dy, times: (g[0] if joint else g) * dy * times}
    outputs = ("da", "db", "dc") if joint else ("da",)
    gradient = mg.operation(outputs=outputs, **rules)(forward)
    rules = {"joint": gradient} if joint else {"a": gradient, "b": lambda g, a, times: g * a * times}

    @mg.operation(**rules)
    def product(a: Any, b: Any, /, times: float) -> Any:
        return a * b * times

    a, b = leaf(2.0), mg.tensor([5.0])
    with autograd.observe(lambda node, g, gradients: took.append(type(gradients[0]))):
        product(a, b, 3.0).backward()
    assert (a.grad.tolist(), took) == ([15.0], [np.ndarray, mg.Tensor])
    c = leaf(5.0)
    (first,) = mg.grad(product(a, c, 3.0), a, create_graph=True)
    assert (first.tolist(), mg.grad(first, c)[0].tolist()) == ([15.0], [3.0])
    assert took[2:] == [np.ndarray]  # the forward function of the recorded call
    a.grad, (x, y) = None, (leaf(2.0), leaf(5.0))
    product(x, y, 3.0).backward(inputs=[x])
    assert (x.grad.tolist(), y.grad) == ([15.0], None)


def test_a_rule_that_is_an_operation_is_checked() -> None:
    x = leaf(1.0, 2.0)
    wide = mg.operation()(lambda dy, /: np.concatenate([dy, dy]))
    with pytest.raises(mg.GraphError, match=r"gave a gradient of shape \(4,\) for an input of shape \(2,\)"):
        mg.operation(x=wide)(lambda x, /: x * 2)(x).backward(np.ones(2))
    with pytest.raises(TypeError, match="should give an array for each of"):
        mg.operation(x=mg.operation()(lambda dy, /: "a"))(lambda x, /: x * 2)(x).backward(np.ones(2))
    with pytest.raises(mg.GraphError, match="gave 1 gradients for 2 inputs"):
        mg.operation(joint=mg.operation()(lambda dy, /: dy))(lambda a, b, /: a * b)(x, x).backward(np.ones(2))
    with pytest.raises(TypeError, match="any number of inputs"):
        mg.operation(x=mg.operation()(lambda *dys: dys[0]))(lambda x, /: x)
    mg.operation(x=mg.operation()(lambda dy, /: dy))(lambda x, /: x * 2)(x).backward(np.ones(2))  # its own cotangent
    assert x.grad.tolist() == [1.0, 1.0]


def test_an_output_that_is_not_wanted_may_be_none() -> None:
    @mg.operation(joint=lambda g: (g[0],), outputs=("y", "z"))
    def halves(x: Any, /, both: bool) -> Any:
        return (x[:1] * 2, x[1:] * 2 if both else None)

    x = leaf(1.0, 2.0)
    assert halves(x, False)[1] is None
    assert [t.tolist() for t in halves(x, True)] == [[2.0], [4.0]]
    with pytest.raises(TypeError, match="should give an array for each of"):
        mg.operation(outputs=("y", "z"))(lambda x, /: (x, x, x))(x)


def test_a_small_part_of_a_large_cotangent_is_copied() -> None:
    a = leaf(1.0, 2.0)
    joined = mg.concat([a, np.ones(10_000, np.float32)])
    (joined * joined).sum().backward()
    assert a.grad.data.base is None or a.grad.data.base.nbytes == a.grad.data.nbytes


def test_a_linear_layer_keeps_only_what_its_gradients_need() -> None:
    x, w, b = mg.ones((4, 3)), mg.tensor(np.ones((2, 3), np.float32)), mg.tensor([1.0, 1.0])
    trained = [t.detach().requires_grad_() for t in (x, w, b)]
    for kept, inputs in (
        ({"x"}, (x, trained[1], b)),
        ({"weight"}, (trained[0], w, b)),
        (set(), (x, w, trained[2])),
        ({"x", "weight"}, tuple(trained)),
    ):
        node = mg.linear(*inputs).node
        assert {*node.names} == kept
        assert len(node.saved) == len(kept)
    y = mg.linear(x, trained[1]).sum()
    trained[1].assign_(2.0)  # the gradient of the weight does not read it
    y.backward()
    assert trained[1].grad.tolist() == [[4.0] * 3] * 2


def test_threads_that_pass_one_graph_are_told_that_it_was_freed() -> None:
    found: list[Exception] = []

    def pass_back(y: Any) -> None:
        try:
            y.backward(mg.ones(2))
        except Exception as error:
            found.append(error)

    for _ in range(100):
        y = leaf(1.0, 2.0)
        for _ in range(30):
            y = y * 2 + y
        threads = [threading.Thread(target=pass_back, args=(y,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(isinstance(error, mg.GraphError) and "freed" in str(error) for error in found), found


def test_many_inputs_of_one_operation() -> None:
    leaves = [leaf(float(i)) for i in range(130)]
    (mg.concat(leaves) * np.arange(130, dtype=np.float32)).sum().backward()
    assert [x.grad.tolist() for x in leaves] == [[float(i)] for i in range(130)]


def test_mistakes_in_a_call_or_a_declaration_say_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"inputs stand before a /, as in def square\(x, /\)"):

        @mg.operation(x=lambda g, x: g * 2 * x)
        def square(x: Any) -> Any:
            return x * x

    with pytest.raises(TypeError, match="exp takes x; 'x' must be given by position"):
        mg.exp(x=mg.ones(2))
    with pytest.raises(TypeError, match=r"softmax\(\) got an unexpected keyword argument 'dim'"):
        mg.softmax(mg.ones(2), dim=0)
