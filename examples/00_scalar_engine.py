"""Automatic differentiation, the whole of it, on scalars and without a single import.

A Value is a number that remembers how it was computed: from which parents, and by which rules the cotangent
of the result, g = d loss / d result, passes on to them. In minigrad a rule is a line of tensor code; between
scalars every rule is "g times the local derivative", and that one number is all there is to record.
"""


class Value:
    """A node of the graph: a number, the nodes it was computed from, and a rule for each of them."""

    def __init__(self, data, parents=(), rules=()):
        self.data, self.parents, self.rules, self.grad = data, parents, rules, 0.0
        self.depth = 1 + max((parent.depth for parent in parents), default=0)

    def __add__(self, other):
        other = as_value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        other = as_value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, n):
        return Value(self.data**n, (self,), (n * self.data ** (n - 1),))

    def tanh(self):
        u = 2.718281828459045 ** (-2 * abs(self.data))  # never above 1, so it cannot overflow
        y = (1 - u) / (1 + u) if self.data > 0 else (u - 1) / (1 + u)
        return Value(y, (self,), (1 - y * y,))

    def relu(self):
        return Value(max(self.data, 0.0), (self,), (float(self.data > 0),))

    def __neg__(self):  # composed of the above, and so is its derivative
        return self * -1.0

    def __sub__(self, other):
        return self + -as_value(other)

    def __truediv__(self, other):
        return self * as_value(other) ** -1

    def __rsub__(self, other):
        return as_value(other) - self

    def __rtruediv__(self, other):
        return as_value(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def backward(self):
        """Add d self / d leaf to the grad of every leaf that this node was computed from."""
        nodes, seen = [self], {self}
        for node in nodes:  # the list grows while we walk along it
            for parent in node.parents:
                if parent not in seen:
                    nodes.append(parent)
                    seen.add(parent)
        # From the deepest node upwards: each has heard from all that used it before it passes its g on.
        cotangents = {self: 1.0}
        for node in sorted(nodes, key=lambda node: node.depth, reverse=True):
            g = cotangents.pop(node)
            for parent, rule in zip(node.parents, node.rules, strict=True):
                cotangents[parent] = cotangents.get(parent, 0.0) + g * rule
            if not node.parents:
                node.grad += g


def as_value(x):
    return x if isinstance(x, Value) else Value(x)


def random_weights(state=1):
    """Yield leaves in [-1, 1), from the linear congruential generator of "Numerical Recipes"."""
    while True:
        state = (1664525 * state + 1013904223) % 2**32
        yield Value(state / 2**31 - 1)


def neuron(weights, inputs):
    """Return tanh(w_1 x_1 + ... + w_n x_n + bias); the bias is the last weight."""
    return sum(w * x for w, x in zip(weights, [*inputs, 1.0], strict=True)).tanh()


if __name__ == "__main__":  # learn exclusive or, which no single neuron can
    examples = [((-1, -1), -1), ((-1, 1), 1), ((1, -1), 1), ((1, 1), -1)]
    draw = random_weights()
    parameters = [next(draw) for _ in range(17)]
    hidden, output = [parameters[k : k + 3] for k in (0, 3, 6, 9)], parameters[12:]
    for step in range(301):
        predictions = [neuron(output, [neuron(weights, x) for weights in hidden]) for x, _ in examples]
        loss = sum((y - target) ** 2 for y, (_, target) in zip(predictions, examples, strict=True)) / 4
        loss.backward()
        for p in parameters:
            p.data, p.grad = p.data - 0.5 * p.grad, 0.0
        if step % 50 == 0:
            print(f"step {step:3}   loss {loss.data:.5f}")
    for y, (x, target) in zip(predictions, examples, strict=True):
        print(f"{x[0]:+} xor {x[1]:+} = {target:+}   predicted {y.data:+.3f}")
