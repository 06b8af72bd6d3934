"""Pure functions on arrays: estimators, distributions, losses, normalisation, shuffling.

Nothing here knows of environments, networks or configs; each function can be used on its own.
"""

from purejaxrl_gae.kernels.advantages import discounted_returns as discounted_returns
from purejaxrl_gae.kernels.advantages import gae as gae
from purejaxrl_gae.kernels.advantages import k_step_advantages as k_step_advantages
from purejaxrl_gae.kernels.advantages import td_residuals as td_residuals
from purejaxrl_gae.kernels.distributions import Categorical as Categorical
from purejaxrl_gae.kernels.distributions import DiagonalGaussian as DiagonalGaussian
from purejaxrl_gae.kernels.distributions import Distribution as Distribution
from purejaxrl_gae.kernels.losses import adapt_kl_coefficient as adapt_kl_coefficient
from purejaxrl_gae.kernels.losses import approximate_kl as approximate_kl
from purejaxrl_gae.kernels.losses import clip_fraction as clip_fraction
from purejaxrl_gae.kernels.losses import clipped_value_loss as clipped_value_loss
from purejaxrl_gae.kernels.losses import explained_variance as explained_variance
from purejaxrl_gae.kernels.losses import kl_penalty_loss as kl_penalty_loss
from purejaxrl_gae.kernels.losses import normalize_advantages as normalize_advantages
from purejaxrl_gae.kernels.losses import ppo_clip_loss as ppo_clip_loss
from purejaxrl_gae.kernels.losses import unclipped_loss as unclipped_loss
from purejaxrl_gae.kernels.losses import value_loss as value_loss
from purejaxrl_gae.kernels.normalization import RunningMoments as RunningMoments
from purejaxrl_gae.kernels.normalization import init_moments as init_moments
from purejaxrl_gae.kernels.normalization import normalize as normalize
from purejaxrl_gae.kernels.normalization import running_discounted_returns as running_discounted_returns
from purejaxrl_gae.kernels.normalization import scale_rewards as scale_rewards
from purejaxrl_gae.kernels.normalization import update_moments as update_moments
from purejaxrl_gae.kernels.shuffle import permutation as permutation
