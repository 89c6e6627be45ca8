"""What a training minimises: how far off a denoiser is, and for which of two pictures less so."""

from typing import TYPE_CHECKING

from selma.diffusion.noising import Diffusion, Noising

if TYPE_CHECKING:
    import torch


def stratified(uniform: "torch.Tensor") -> "torch.Tensor":
    """Spread one number per item evenly over the batch: item i of N gets (i + uᵢ)/N.

    Over the batch as a whole the numbers are uniform, as independent draws are, but the loss varies
    less from step to step (VDM, arXiv 2107.00630, appendix I.1, with one uᵢ per item).

    Args:
        uniform: (N,) in [0, 1).

    Returns:
        (N,) in [0, 1).
    """
    import torch

    number = uniform.shape[0]
    return (torch.arange(number, device=uniform.device) + uniform) / number


def squared_errors(prediction: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
    """Compute each item's mean squared error, (N,), in float32 whatever the model computes in."""
    return (prediction.float() - target.float()).square().flatten(1).mean(1)


def preference_losses(
    errors: "torch.Tensor", reference: "torch.Tensor", beta: float
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Compare how far off a denoiser is on winners and on losers; Diffusion-DPO.

    With the margin m = (L_w − L_l) − (L_w^ref − L_l^ref) the loss is −log σ(−β/2 · m), which is
    arXiv 2311.12908, equation 14, with its T ω(λ) in β, and errors that are means over a latent's
    values where the paper sums them, as in its released code.

    Args:
        errors: (…, 2, N), of winners and losers under the same noise, by the model that learns.
        reference: the same by the model that it started from.
        beta: β; the larger, the nearer the model stays to the reference.

    Returns:
        Losses and implicit accuracies, each (…, N): 1 where the model prefers the winner to the
        loser more than the reference does, 0 where less, ½ where neither.
    """
    from torch.nn.functional import softplus

    moved = errors - reference
    margin = moved[..., 0, :] - moved[..., 1, :]
    return softplus(beta / 2 * margin), (1 - margin.sign()) / 2


def min_snr_weights(noising: Noising, timesteps: "torch.Tensor", gamma: float) -> "torch.Tensor":
    """Weigh items by min(SNR, γ) in units of x₀'s error; min-SNR, arXiv 2303.09556, section 3.4.

    That is min(SNR, γ)/SNR on the noise's error, min(SNR, γ)/(SNR + 1) on the velocity's and
    min(SNR, γ) on the clean latents'; a flow's velocity ε − x₀ is off by 1 + √SNR as much as x₀.

    Args:
        noising: whose target the error is of.
        timesteps: (N,).
        gamma: γ, 5 in the paper.

    Returns:
        (N,) float32.
    """
    ratio = noising.signal_to_noise(timesteps)
    kept = ratio.clamp(max=gamma)
    kind = noising.prediction_type if isinstance(noising, Diffusion) else "flow"
    if kind == "epsilon":  # 0/0 at zero SNR, where the noise is all that there is to see
        return (kept / ratio).nan_to_num(1.0).float()
    scales = {"v_prediction": ratio + 1, "flow": (1 + ratio.sqrt()).square()}
    return (kept / scales[kind] if kind in scales else kept).float()
