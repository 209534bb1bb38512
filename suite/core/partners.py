"""Which photo is "another photo": the one place that pairs photos of a chunk. No torch.

Nulls, unrelated maps, mosaics and composites ask about a photo that shares nothing with the first. A photo of the same
class does share something, so partners are always of another class, and a photo without one has none.
"""

from collections.abc import Hashable, Sequence

NO_PARTNER = -1
WHY_NONE = "the chunk holds no photo of another class: raise data.batch_size, or give photos of more classes"


def partners(classes: Sequence[Hashable], turn: int = 0) -> list[int]:
    """For each photo of a chunk the place of a photo of another class.

    The candidates of a photo are those that follow it in the chunk, the first following the last; `turn` picks one of
    them, so that different draws take different partners where there are several.

    Args:
        classes: (B,), each photo's class: its label, or the network's top class where it has none.
        turn: at least 0; 0 is the next photo of another class.

    Returns:
        (B,) places in the chunk; all `NO_PARTNER` where the photos are of one class, else none.
    """
    chosen = []
    for i, own in enumerate(classes):
        after = [*range(i + 1, len(classes)), *range(i)]
        strangers = [j for j in after if classes[j] != own]
        chosen.append(strangers[turn % len(strangers)] if strangers else NO_PARTNER)
    return chosen


def distinct_groups(classes: Sequence[Hashable], size: int) -> list[list[int]]:
    """Groups of `size` photos, no two of one class, no photo twice; the photos that fill no group are left out.

    Args:
        classes: (B,), as in `partners`.
        size: photos a group, at least 1.

    Returns:
        Places in the chunk. As many groups as can be had: each takes a photo of the classes that have most left.
    """
    waiting: dict[Hashable, list[int]] = {}
    for i, own in enumerate(classes):
        waiting.setdefault(own, []).append(i)
    groups = []
    while sum(map(bool, waiting.values())) >= size:
        largest = sorted(waiting, key=lambda own: -len(waiting[own]))[:size]  # stable: ties in the chunk's order
        groups.append([waiting[own].pop(0) for own in largest])
    return groups
