"""The private step of private_step.py in JAX, jit(vmap(grad)): prints milliseconds for each network and batch.

Run by that script, in an environment of its own: python -m venv /tmp/jax && /tmp/jax/bin/pip install jax.
"""

from __future__ import annotations

import json
import os
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
from jax import lax, random

WORDS, LENGTH, WIDTH, HIDDEN, HEADS = 3000, 64, 48, 64, 4


def linear(key, wide, narrow):
    return {"w": 0.05 * random.normal(key, (wide, narrow)), "b": jnp.zeros(narrow)}


def apply(layer, x):
    return x @ layer["w"] + layer["b"]


def norm(layer, x):
    centred = x - x.mean(-1, keepdims=True)
    return layer["w"] * centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) + layer["b"]


def mlp_weights(keys):
    return [linear(key, *sizes) for key, sizes in zip(keys, ((105, 128), (128, 64), (64, 2)), strict=False)]


def mlp(weights, x):
    for layer in weights[:-1]:
        x = jax.nn.relu(apply(layer, x))
    return apply(weights[-1], x)


def cnn_weights(keys):
    def convolution(key, narrow, wide):
        return {"w": 0.05 * random.normal(key, (wide, narrow, 3, 3)), "b": jnp.zeros((wide, 1, 1))}

    return [
        convolution(keys[0], 1, 16),
        convolution(keys[1], 16, 32),
        linear(keys[2], 1568, 64),
        linear(keys[3], 64, 10),
    ]


def cnn(weights, x):
    x = x[None]
    for layer in weights[:2]:
        x = jax.nn.relu(lax.conv(x, layer["w"], (1, 1), "SAME") + layer["b"])
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return apply(weights[3], jax.nn.relu(apply(weights[2], x.reshape(-1))))


def transformer_weights(keys):
    names = ("query", "key", "value", "merge")
    weights = {name: linear(key, WIDTH, WIDTH) for name, key in zip(names, keys, strict=False)}
    weights |= {name: {"w": jnp.ones(WIDTH), "b": jnp.zeros(WIDTH)} for name in ("norm1", "norm2", "norm3")}
    return weights | {
        "words": 0.1 * random.normal(keys[4], (WORDS, WIDTH)),
        "places": 0.02 * random.normal(keys[5], (LENGTH, WIDTH)),
        "wide": linear(keys[6], WIDTH, 2 * WIDTH),
        "narrow": linear(keys[7], 2 * WIDTH, WIDTH),
        "output": linear(keys[8], WIDTH, 2),
    }


def transformer(weights, ids):
    x = weights["words"][ids] + weights["places"]
    normed = norm(weights["norm1"], x)
    query, key, value = (
        apply(weights[name], normed).reshape(LENGTH, HEADS, -1).swapaxes(0, 1) for name in ("query", "key", "value")
    )
    scores = jax.nn.softmax(query @ key.swapaxes(1, 2) / (WIDTH // HEADS) ** 0.5)
    x = x + apply(weights["merge"], (scores @ value).swapaxes(0, 1).reshape(LENGTH, WIDTH))
    x = x + apply(weights["narrow"], jax.nn.relu(apply(weights["wide"], norm(weights["norm2"], x))))
    return apply(weights["output"], norm(weights["norm3"], x).mean(0))


def lstm_weights(keys):
    return {
        "words": 0.1 * random.normal(keys[0], (WORDS, WIDTH)),
        "input": linear(keys[1], WIDTH, 4 * HIDDEN),
        "state": linear(keys[2], HIDDEN, 4 * HIDDEN),
        "output": linear(keys[3], HIDDEN, 2),
    }


def lstm(weights, ids):
    def cell(carried, arriving):
        state, memory = carried
        enter, forget, new, leave = jnp.split(arriving + apply(weights["state"], state), 4)
        memory = jax.nn.sigmoid(forget) * memory + jax.nn.sigmoid(enter) * jnp.tanh(new)
        state = jax.nn.sigmoid(leave) * jnp.tanh(memory)
        return (state, memory), state

    start = jnp.zeros(HIDDEN), jnp.zeros(HIDDEN)
    _, states = lax.scan(cell, start, apply(weights["input"], weights["words"][ids]))
    return apply(weights["output"], states.mean(0))


def step_of(network):
    def loss(weights, x, label):
        return -jax.nn.log_softmax(network(weights, x))[label]

    @jax.jit
    def step(weights, inputs, labels, key):
        gradients = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(weights, inputs, labels)
        leaves, shape = jax.tree.flatten(gradients)
        norms = jnp.sqrt(sum((leaf.reshape(len(labels), -1) ** 2).sum(1) for leaf in leaves))
        factors = jnp.minimum(1, 1 / (norms + 1e-6))
        noisy = [
            (jnp.tensordot(factors, leaf, 1) + random.normal(part, leaf.shape[1:])) / len(labels)
            for leaf, part in zip(leaves, random.split(key, len(leaves)), strict=True)
        ]
        return jax.tree.map(lambda weight, change: weight - 0.01 * change, weights, jax.tree.unflatten(shape, noisy))

    return step


def main():
    key = random.key(0)
    keys = random.split(key, 9)
    found = {"version": jax.__version__}
    for name, make, network, shape in (
        ("MLP 105-128-64-2", mlp_weights, mlp, (105,)),
        ("CNN 1x28x28", cnn_weights, cnn, (1, 28, 28)),
        ("Transformer 64 tokens", transformer_weights, transformer, None),
        ("LSTM 64 tokens", lstm_weights, lstm, None),
    ):
        found[name] = {}
        for batch in (256, 1024):
            inputs = (
                random.randint(key, (batch, LENGTH), 1, WORDS) if shape is None else random.normal(key, (batch, *shape))
            )
            labels, weights, step = jnp.zeros(batch, int), make(keys), step_of(network)
            jax.block_until_ready(step(weights, inputs, labels, key))
            times = []
            for _ in range(5):
                started = time.process_time()
                jax.block_until_ready(step(weights, inputs, labels, key))
                times.append(time.process_time() - started)
            found[name][str(batch)] = 1000 * min(times)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
