"""Places boxes in columns so that arrows between neighbouring columns are short and cross little.

The barycentre method: in turn, each column is sorted by the mean height of the neighbours of its boxes. Then each box
comes as near to that height as the boxes above and below it allow (isotonic regression by pooling adjacent violators).
"""

from collections.abc import Mapping, Sequence

SWEEPS = 8


def heights_of(
    columns: Sequence[Sequence[int]], sizes: Mapping[int, float], arrows: Sequence[tuple[int, int]], gap: float
) -> dict[int, float]:
    """The top of each box, with 0 as the top of the highest one. `sizes` are the heights of the boxes."""
    neighbours: dict[int, list[int]] = {box: [] for box in sizes}
    for source, target in arrows:
        neighbours[source].append(target)
        neighbours[target].append(source)
    middles: dict[int, float] = {}
    for column in columns:
        middles |= _stacked(column, sizes, gap)
    for sweep in range(SWEEPS):
        for column in columns[1:] if sweep % 2 == 0 else columns[-2::-1]:
            wanted = {
                box: sum(middles[near] for near in neighbours[box]) / len(neighbours[box])
                if neighbours[box]
                else middles[box]
                for box in column
            }
            middles |= _placed(sorted(column, key=lambda box: (wanted[box], middles[box])), wanted, sizes, gap)
    tops = {box: middle - sizes[box] / 2 for box, middle in middles.items()}
    highest = min(tops.values(), default=0.0)
    return {box: top - highest for box, top in tops.items()}


def _stacked(column: Sequence[int], sizes: Mapping[int, float], gap: float) -> dict[int, float]:
    middles, top = {}, 0.0
    for box in column:
        middles[box] = top + sizes[box] / 2
        top += sizes[box] + gap
    return middles


def _placed(
    column: Sequence[int], wanted: Mapping[int, float], sizes: Mapping[int, float], gap: float
) -> dict[int, float]:
    """The middles nearest to the wanted ones that keep the sequence and the gap."""
    offsets = _stacked(column, sizes, gap)
    pools: list[tuple[float, list[int]]] = []
    for box in column:
        mean, pool = wanted[box] - offsets[box], [box]
        while pools and pools[-1][0] >= mean:
            above, boxes = pools.pop()
            mean = (above * len(boxes) + mean * len(pool)) / (len(boxes) + len(pool))
            pool = boxes + pool
        pools.append((mean, pool))
    return {box: mean + offsets[box] for mean, pool in pools for box in pool}
