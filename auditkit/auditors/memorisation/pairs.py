"""Samples beside the training images that they come nearest to, for data that the policy calls public."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Evidence, HeatMaps, Panel, grid_of
from auditkit.evidence.messages import Message

SHOWN_PAIRS = 12
GAP = 1
"""Columns of pixels between the two images of a pair."""


def pairs_evidence(subject: Subject, samples: NDArray[np.float32]) -> Evidence:
    """Show samples, (rows, channels, height, width), beside their nearest training images, or say why that is not done.

    Rows of a table are never shown.
    """
    training, images = subject.training, subject.training_inputs
    if samples.ndim != 4 or training is None or images is None:
        return Evidence()
    if training.sha256 is None:
        note = Message(
            "Training images are not shown beside samples: data from memory have no hash by which a policy could call "
            "them public. Pass a file."
        )
        return Evidence(notes=[note])
    name = f"sha256:{training.sha256}"
    if name not in subject.public_data:
        note = Message(
            "Training images are not shown beside samples: the policy does not call the training data public. If "
            'anyone may see them, write public_data = ["{name}"] above the limits of the policy.',
            name=name,
        )
        return Evidence(notes=[note])
    note = Message(
        "Single training images are shown, since the policy calls the training data ({name}) public.", name=name
    )
    return Evidence(exhibits=[_pairs(samples, images)], notes=[note])


def nearest_pairs(
    samples: NDArray[np.float32], images: NDArray[np.float32], count: int
) -> list[tuple[int, int, float]]:
    """Return the `count` samples that lie nearest to an image: their place, that of the image, and the distance.

    Of samples that are nearest to one image only the first is taken. Distances are Euclidean, over all pixels.
    """
    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(images.reshape(len(images), -1))
    distances, places = (found[:, 0] for found in finder.kneighbors(samples.reshape(len(samples), -1)))
    order = np.argsort(distances, kind="stable")
    _, first = np.unique(places[order], return_index=True)
    chosen = order[np.sort(first)[:count]]
    return [(int(at), int(places[at]), float(distances[at])) for at in chosen]


def _pairs(samples: NDArray[np.float32], images: NDArray[np.float32]) -> HeatMaps:
    panels = []
    for number, (sample, image, distance) in enumerate(nearest_pairs(samples, images, SHOWN_PAIRS), 1):
        left, right = samples[sample].mean(axis=0), images[image].mean(axis=0)
        between = np.full((len(left), GAP), min(left.min(), right.min()))
        panels.append(
            Panel(
                name=Message("pair {number}", number=number),
                note=Message("distance {distance:.3g}", distance=distance),
                image=grid_of(np.hstack([left, between, right]).tolist()),
                heat=None,
            )
        )
    return HeatMaps(
        title=Message("Samples and the training images that they come nearest to"),
        public_rows=True,
        note=Message(
            "Left a sample, right its nearest training image: of {count:,} samples those at the smallest Euclidean "
            "distance, each training image once. Some are always the nearest: whether they are copies is told by the "
            "shares above, not by these pictures.",
            count=len(samples),
        ),
        panels=tuple(panels),
    )
