"""Environments are compiled without optimising: their tests ask what a step does, and compile more than they run."""

import jax
import pytest


@pytest.fixture(scope="package", autouse=True)
def quickly_compiled():
    """For the tests of this folder only."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
