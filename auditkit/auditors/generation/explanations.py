"""What a generator's latent values do, and what its discriminator looks at: pictures of samples, never of real rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.generation.material import Rows
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Exhibit, HeatMaps, Panel, grid_of
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import Discriminating, LatentCode

TRAVERSED, STEPS = 4, (-2.0, -1.0, 0.0, 1.0, 2.0)
EXPLAINED_SAMPLES = 6


def explanations(subject: Subject, samples: Rows) -> list[Exhibit]:
    """Return the traversal of latent values, and the saliency of the discriminator, where the model has them."""
    if samples.ndim != 4:
        return []
    exhibits: list[Exhibit] = []
    code, judge = subject.audited.capability(LatentCode), subject.audited.capability(Discriminating)
    if code is not None:
        exhibits.append(_traversals(code, subject))
    if judge is not None:
        shown = samples[:EXPLAINED_SAMPLES]
        exhibits.append(_saliency(shown, judge.saliency(shown, device=subject.device)))
    return exhibits


def _traversals(code: LatentCode, subject: Subject) -> HeatMaps:
    """Show images while one latent value moves and the others stay 0: those that vary most over the unseen rows."""
    means = code.encode(subject.inputs, device=subject.device)
    strongest = np.argsort(-means.std(axis=0))[:TRAVERSED]
    latent = np.zeros((len(strongest), len(STEPS), means.shape[1]), dtype=np.float32)
    for row, value in enumerate(strongest):
        latent[row, :, value] = STEPS
    images = code.decode(latent.reshape(-1, means.shape[1]), device=subject.device)
    places = [(int(value), step) for value in strongest for step in STEPS]
    panels = [
        _panel(Message("latent value {number} at {step:g}", number=value + 1, step=step), image, None)
        for (value, step), image in zip(places, images, strict=True)
    ]
    return HeatMaps(
        title=Message("What latent values do"),
        note=Message(
            "One latent value moves from -2 to 2 standard deviations while the others stay 0; those are shown that "
            "vary most between unseen rows. A value need not stand for one property, another training numbers and "
            "mixes them differently, and what is seen at 0 need not hold elsewhere."
        ),
        panels=tuple(panels),
    )


def _saliency(images: Rows, slopes: Rows) -> HeatMaps:
    """Show samples with how much each pixel moves the discriminator's logit."""
    panels = [
        _panel(Message("sample {number}", number=place + 1), image, np.abs(slope))
        for place, (image, slope) in enumerate(zip(images, slopes, strict=True))
    ]
    return HeatMaps(
        title=Message("What the discriminator looks at"),
        note=Message(
            "Marked: where a small change of a pixel moves the discriminator's logit most (the absolute gradient), on "
            "samples of this audit. It holds for small changes of these images alone, and does not say what makes "
            "the discriminator take an image for real."
        ),
        panels=tuple(panels),
    )


def _panel(name: str, image: NDArray[np.float32], heat: NDArray[np.float32] | None) -> Panel:
    marked = None if heat is None else grid_of(heat.mean(axis=0).tolist())
    return Panel(name=name, image=grid_of(image.mean(axis=0).tolist()), heat=marked)
