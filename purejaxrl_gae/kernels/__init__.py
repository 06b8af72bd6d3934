"""Pure functions on arrays: estimators, distributions, losses, normalisation, shuffling.

Nothing here knows of environments, networks or configs; each function can be used on its own.
"""

from purejaxrl_gae.kernels.advantages import discounted_returns as discounted_returns
from purejaxrl_gae.kernels.advantages import gae as gae
from purejaxrl_gae.kernels.advantages import gae_batch_major as gae_batch_major
from purejaxrl_gae.kernels.advantages import k_step_advantages as k_step_advantages
from purejaxrl_gae.kernels.advantages import shaped_rewards as shaped_rewards
from purejaxrl_gae.kernels.advantages import td_residuals as td_residuals
from purejaxrl_gae.kernels.conjugate_gradient import ConjugateGradientResult as ConjugateGradientResult
from purejaxrl_gae.kernels.conjugate_gradient import conjugate_gradient as conjugate_gradient
from purejaxrl_gae.kernels.counts import add_counts as add_counts
from purejaxrl_gae.kernels.distributions import Categorical as Categorical
from purejaxrl_gae.kernels.distributions import DiagonalGaussian as DiagonalGaussian
from purejaxrl_gae.kernels.distributions import Distribution as Distribution
from purejaxrl_gae.kernels.distributions import SquashedGaussian as SquashedGaussian
from purejaxrl_gae.kernels.fisher import fisher_vector_product as fisher_vector_product
from purejaxrl_gae.kernels.fisher import make_fisher_vector_product as make_fisher_vector_product
from purejaxrl_gae.kernels.fisher import make_gauss_newton_product as make_gauss_newton_product
from purejaxrl_gae.kernels.joint_distributions import Bernoulli as Bernoulli
from purejaxrl_gae.kernels.joint_distributions import Joint as Joint
from purejaxrl_gae.kernels.joint_distributions import MultiCategorical as MultiCategorical
from purejaxrl_gae.kernels.losses import adapt_kl_coefficient as adapt_kl_coefficient
from purejaxrl_gae.kernels.losses import adapt_learning_rate as adapt_learning_rate
from purejaxrl_gae.kernels.losses import approximate_kl as approximate_kl
from purejaxrl_gae.kernels.losses import clip_fraction as clip_fraction
from purejaxrl_gae.kernels.losses import clipped_value_loss as clipped_value_loss
from purejaxrl_gae.kernels.losses import explained_variance as explained_variance
from purejaxrl_gae.kernels.losses import kl_penalty_loss as kl_penalty_loss
from purejaxrl_gae.kernels.losses import normalize_advantages as normalize_advantages
from purejaxrl_gae.kernels.losses import policy_gradient_loss as policy_gradient_loss
from purejaxrl_gae.kernels.losses import ppo_clip_loss as ppo_clip_loss
from purejaxrl_gae.kernels.losses import unclipped_loss as unclipped_loss
from purejaxrl_gae.kernels.losses import value_loss as value_loss
from purejaxrl_gae.kernels.normalization import RunningMoments as RunningMoments
from purejaxrl_gae.kernels.normalization import init_moments as init_moments
from purejaxrl_gae.kernels.normalization import normalize as normalize
from purejaxrl_gae.kernels.normalization import running_discounted_returns as running_discounted_returns
from purejaxrl_gae.kernels.normalization import scale_rewards as scale_rewards
from purejaxrl_gae.kernels.normalization import unscale_values as unscale_values
from purejaxrl_gae.kernels.normalization import update_moments as update_moments
from purejaxrl_gae.kernels.shuffle import permutation as permutation
from purejaxrl_gae.kernels.trajectories import in_first_episode as in_first_episode
from purejaxrl_gae.kernels.trajectories import trajectory_log_ratios as trajectory_log_ratios
from purejaxrl_gae.kernels.trajectories import trajectory_returns as trajectory_returns
from purejaxrl_gae.kernels.trajectories import trajectory_start as trajectory_start
from purejaxrl_gae.kernels.trust_region import LineSearchResult as LineSearchResult
from purejaxrl_gae.kernels.trust_region import NaturalGradientResult as NaturalGradientResult
from purejaxrl_gae.kernels.trust_region import backtracking_line_search as backtracking_line_search
from purejaxrl_gae.kernels.trust_region import natural_gradient_step as natural_gradient_step
from purejaxrl_gae.kernels.vtrace import VTraceResult as VTraceResult
from purejaxrl_gae.kernels.vtrace import effective_sample_size as effective_sample_size
from purejaxrl_gae.kernels.vtrace import vtrace as vtrace
