"""What several tests of algorithms begin with."""

from functools import partial

import jax

from purejaxrl_gae.program import training


def first_rollout(algorithm):
    """Returns the state that key 0 starts from and what is then collected; operation by operation takes far longer."""
    state = jax.jit(partial(training.init_state, algorithm))(jax.random.key(0), algorithm.hyperparameters)
    return state, jax.jit(partial(training.collect, algorithm))(algorithm.hyperparameters, state)[1]
