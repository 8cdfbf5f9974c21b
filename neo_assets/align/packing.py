"""Conversations into windows: each whole in one, none beside text that it could see.

Best fit, longest first (arXiv 2404.10830): each goes where it leaves the least room. What is left of a window is filled
up. Every conversation is a document of the stream, and a document sees nothing but itself (positions restart), so that
packing changes no conversation's loss.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def packed(lengths: Sequence[int], window: int) -> list[list[int]]:
    """Numbers of the items in each window. Items are taken longest first, those of one length as they are given; each
    is no longer than a window.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    windows: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    rooms: list[int] = []  # those of by_room, ascending
    for item in order:
        at = bisect.bisect_left(rooms, lengths[item])
        if at < len(rooms):
            room = rooms[at]
            chosen = by_room[room].pop()
            if not by_room[room]:
                del by_room[room], rooms[at]
        else:
            room, chosen = window, len(windows)
            windows.append([])
        windows[chosen].append(item)
        left = room - lengths[item]
        if left:
            if left not in by_room:
                bisect.insort(rooms, left)
            by_room.setdefault(left, []).append(chosen)
    return windows
