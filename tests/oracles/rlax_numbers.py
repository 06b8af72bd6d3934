"""python -m tests.oracles.rlax_numbers: rlax's estimators and losses on one trajectory. Needs rlax; see README.md."""

import jax
import jax.numpy as jnp
import numpy as np
import rlax

from tests.oracles import inputs

GAMMA, LAMBDA = 0.97, 0.9


def main() -> None:
    """One trajectory of 24 steps in which two episodes end; a batch of 24 for the losses."""
    rng = np.random.default_rng(6)
    values = rng.normal(size=25).astype(np.float32)
    question = {
        "rewards": rng.normal(size=24).astype(np.float32),
        "values": values[:-1],
        "next_values": values[1:],
        "terminated": np.isin(np.arange(24), (6, 15)),
        "logits": rng.normal(size=(24, 3)).astype(np.float32),
        "old_logits": rng.normal(size=(24, 3)).astype(np.float32),
        "actions": rng.integers(0, 3, 24).astype(np.int32),
    }
    rewards, discounts = question["rewards"], GAMMA * (1.0 - question["terminated"].astype(np.float32))
    behind = question["next_values"]

    def log_prob(logits):
        return jnp.take_along_axis(jax.nn.log_softmax(logits), question["actions"][:, None], axis=-1)[:, 0]

    log_ratios = log_prob(question["logits"]) - log_prob(question["old_logits"])
    advantages = rlax.truncated_generalized_advantage_estimation(rewards, discounts, LAMBDA, values)
    vtrace = rlax.vtrace_td_error_and_advantage(
        values[:-1], behind, rewards, discounts, jnp.exp(log_ratios), LAMBDA, stop_target_gradients=True
    )

    def clipped(logits):
        ratios = jnp.exp(log_prob(logits) - log_prob(question["old_logits"]))
        return rlax.clipped_surrogate_pg_loss(ratios, advantages, 0.2)

    def policy_gradient(logits):
        return rlax.policy_gradient_loss(logits, question["actions"], advantages, jnp.ones(24))

    answer = {
        "advantages": advantages,
        "lambda_returns": rlax.lambda_returns(rewards, discounts, behind, LAMBDA),
        "returns": rlax.discounted_returns(rewards, discounts, behind),
        "vtrace_errors": vtrace.errors,
        "clipped_loss": clipped(question["logits"]),
        "clipped_gradient": jax.grad(clipped)(question["logits"]),
        "policy_gradient_loss": policy_gradient(question["logits"]),
        "policy_gradient": jax.grad(policy_gradient)(question["logits"]),
        "entropy": -rlax.entropy_loss(question["logits"], jnp.ones(24)),
        "kl": jnp.mean(rlax.categorical_kl_divergence(question["old_logits"], question["logits"])),
    }
    inputs.save("rlax.npz", question | {f"expected/{key}": np.asarray(value) for key, value in answer.items()})


if __name__ == "__main__":
    main()
