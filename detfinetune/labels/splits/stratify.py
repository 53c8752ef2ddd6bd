"""Dividing things that each hold some of several kinds, so that every part gets its share of each.

The order is that of iterative stratification (Sechidis, Tsoumakas and Vlahavas, "On the
Stratification of Multi-Label Data", ECML PKDD 2011): the kind that the fewest undivided units hold
comes first. Where a unit goes is decided otherwise than there, because units (a video, an image)
hold many objects of a kind: to the part where it adds least to

    sum over kinds k and parts p of  weight_k * (held_kp - share_p * total_k)^2 / share_p

which for one kind and equal units is the Sainte-Lague method of giving out seats. Afterwards single
units move, and where there are few of them pairs change places, for as long as that lowers the sum.

Only Python's integers and single float operations are used, and of `random` only `random()`, whose
sequence Python's documentation promises to keep: the result is the same on any machine and Python
(`sum()` of floats changed in 3.12, numpy's sums depend on the processor).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

Unit = Sequence[tuple[int, int]]
"""What a unit holds: pairs of kind and amount (above 0)."""

# How much more than a missing kind an empty part counts.
_EMPTY_PART = 1000

# Margins that keep rounding from moving a unit back and forth for ever.
_LOWER = 1 - 1e-9
_LOWER_SUM = (0, -1e-9)

# What bounds the time: passes over all units, and tries to bring a rare kind into a part. Pairs are
# few enough to go through all of them up to some hundred units.
_PASSES, _PASSES_MANY, _MANY_UNITS = 8, 2, 20_000
_EXCHANGE_PASSES, _FEW_UNITS = 3, 200
_GAP_PASSES, _TRIALS = 3, 50_000


def stratify(
    units: Sequence[Unit],
    sizes: Sequence[int],
    shares: Sequence[float],
    *,
    kinds: int,
    seed: int,
    first_is_train: bool,
) -> list[int]:
    """Return the part that each unit goes to.

    Every part gets a unit, and a kind that as many units hold as there are parts is in every part,
    as far as moves of single units and exchanges of two can bring that about.

    Args:
        units: what each unit holds, kinds from 0 to `kinds` - 1; none holds nothing.
        sizes: images in each unit; they are balanced as well.
        shares: the share of each part, above 0, together 1.
        kinds: how many kinds there are.
        seed: of the order among equal units.
        first_is_train: whether the first part is served first when there is too little for all.
    """
    rng = random.Random(seed)
    keys = [rng.random() for _ in units]
    order = sorted(range(len(units)), key=lambda unit: (keys[unit], unit))
    contents = [(*unit, (kinds, size)) for unit, size in zip(units, sizes, strict=True)]
    division = _Division(contents, shares, kinds, 0 if first_is_train else None)
    division.place_all(order)
    division.close_gaps()
    division.improve(order)
    if len(units) <= _FEW_UNITS:
        division.improve_by_exchange(order)
    return division.part_of


class _Division:
    """Which unit is in which part, and what each part holds. The last kind is the images."""

    def __init__(
        self, units: Sequence[Unit], shares: Sequence[float], kinds: int, train: int | None
    ) -> None:
        parts = len(shares)
        self.units = units
        self.shares = list(shares)
        self.parts = range(parts)
        self.train = train
        self.images = kinds
        self.trials_left = _TRIALS
        self.part_of = [-1] * len(units)
        self.held = [[0] * parts for _ in range(kinds + 1)]
        """Amount of each kind in each part."""
        self.holders = [[0] * parts for _ in range(kinds + 1)]
        """Units in each part that hold a kind."""
        self.waiting = [0] * (kinds + 1)
        """Units that hold a kind and are in no part yet."""
        totals = [0] * (kinds + 1)
        for unit in units:
            for kind, amount in unit:
                totals[kind] += amount
                self.waiting[kind] += 1
        self.num_units = list(self.waiting)
        self.weights = [1.0 / (total * total) if total else 0.0 for total in totals]
        # The number of images matters as much as all classes do together.
        self.weights[kinds] *= max(1, len([total for total in totals[:kinds] if total]))

    def place_all(self, order: Sequence[int]) -> None:
        """Place every unit, those with the rarest kinds first, large ones before small ones."""
        members: list[list[int]] = [[] for _ in range(self.images)]
        amounts: list[list[int]] = [[] for _ in range(self.images)]
        for index in order:
            for kind, amount in self.units[index]:
                if kind != self.images:
                    members[kind].append(index)
                    amounts[kind].append(amount)
        left = {kind for kind in range(self.images) if members[kind]}
        while left:
            kind = min(left, key=lambda kind: (self.waiting[kind], kind))
            left.remove(kind)
            # Powers of two, so that the seed still decides among those of about one size.
            scale = [-amount.bit_length() for amount in amounts[kind]]
            for place in sorted(range(len(scale)), key=scale.__getitem__):
                index = members[kind][place]
                if self.part_of[index] < 0:
                    for held, _ in self.units[index]:
                        self.waiting[held] -= 1
                    self._put(index, self._best_part(index))

    def _best_part(self, index: int) -> int:
        """Return the part that needs the unit most, among those the one it suits best."""
        needs = [0] * len(self.parts)
        for kind, _ in self.units[index]:
            holders = self.holders[kind]
            gaps = holders.count(0)
            left = self.waiting[kind] + 1
            if left > gaps:
                continue
            for part in self.parts:
                if not holders[part]:
                    needs[part] += _EMPTY_PART if kind == self.images else 1
        most = max(needs)
        candidates = [part for part in self.parts if needs[part] == most]
        return min(candidates, key=lambda part: self._price(index, part))

    def _price(self, index: int, part: int) -> float:
        """Return what the unit adds to the sum in `part`, but for what is the same in all."""
        price = 0.0
        held, weights = self.held, self.weights
        for kind, amount in self.units[index]:
            price += weights[kind] * amount * (2 * held[kind][part] + amount)
        return price / self.shares[part]

    def _put(self, index: int, part: int) -> None:
        self.part_of[index] = part
        for kind, amount in self.units[index]:
            self.held[kind][part] += amount
            self.holders[kind][part] += 1

    def _take(self, index: int) -> int:
        part = self.part_of[index]
        for kind, amount in self.units[index]:
            self.held[kind][part] -= amount
            self.holders[kind][part] -= 1
        self.part_of[index] = -1
        return part

    def _targets(self, index: int) -> Sequence[int]:
        """Return the parts that the unit may move to without a kind being in fewer parts.

        Nor does train lose a kind.
        """
        part = self.part_of[index]
        last = [kind for kind, _ in self.units[index] if self.holders[kind][part] == 1]
        if not last:
            return self.parts
        if part == self.train:
            return ()
        return [
            other for other in self.parts if not any(self.holders[kind][other] for kind in last)
        ]

    def close_gaps(self) -> None:
        """Bring kinds into the parts that lack them, by a move or by exchanging two units."""
        for _ in range(_GAP_PASSES):
            wanting = [kind for kind in range(self.images) if self._shortfall([kind])]
            for kind in sorted(wanting, key=lambda kind: (self.num_units[kind], kind)):
                for part in self.parts:
                    if not self.holders[kind][part] and self._shortfall([kind]):
                        self._bring(kind, part)

    def _shortfall(self, kinds: Iterable[int]) -> int:
        """Return in how many parts kinds are missing that could be there."""
        short = 0
        for kind in kinds:
            holders, units = self.holders[kind], self.num_units[kind]
            unavoidable = max(0, len(holders) - units)
            gaps = holders.count(0) - unavoidable
            if unavoidable and units and self.train is not None and not holders[self.train]:
                gaps = max(gaps, 1)
            short += gaps * (_EMPTY_PART if kind == self.images else 1)
        return short

    def _bring(self, kind: int, part: int) -> None:
        """Make the best of the moves and exchanges that bring `kind` into `part`, if one helps."""
        givers: list[int] = []
        takers: list[int] = []
        for index, unit in enumerate(self.units):
            if self.part_of[index] == part:
                takers.append(index)
            elif any(held == kind for held, _ in unit):
                givers.append(index)
        best: tuple[int, float] = (0, 0.0)
        chosen: tuple[int, int | None] | None = None
        for taker in (None, *takers):
            for giver in givers[: self.trials_left]:
                result = self._trial(giver, taker, part)
                if result < best:
                    best, chosen = result, (giver, taker)
            self.trials_left -= min(self.trials_left, len(givers))
            if taker is None and best[0] < 0:
                break
        if chosen is not None:
            self._exchange(*chosen, part)

    def _exchange(self, giver: int, taker: int | None, part: int) -> float:
        """Put `giver` into `part` and `taker` in its place; return by how much the sum rises."""
        old = self._take(giver)
        change = -self._price(giver, old)
        if taker is not None:
            self._take(taker)
            change += self._price(taker, old) - self._price(taker, part)
            self._put(taker, old)
        change += self._price(giver, part)
        self._put(giver, part)
        return change

    def _trial(self, giver: int, taker: int | None, part: int) -> tuple[int, float]:
        """Return what an exchange would add to the shortfall and to the sum."""
        kinds = {kind for kind, _ in self.units[giver]}
        if taker is not None:
            kinds |= {kind for kind, _ in self.units[taker]}
        before = self._shortfall(kinds)
        old = self.part_of[giver]
        change = self._exchange(giver, taker, part)
        after = self._shortfall(kinds)
        self._take(giver)
        self._put(giver, old)
        if taker is not None:
            self._take(taker)
            self._put(taker, part)
        return after - before, change

    def improve(self, order: Sequence[int]) -> None:
        """Move single units for as long as that lowers the sum, in a bounded number of passes."""
        for _ in range(_PASSES if len(order) <= _MANY_UNITS else _PASSES_MANY):
            moved = 0
            for index in order:
                targets = self._targets(index)
                if not targets:
                    continue
                old = self._take(index)
                prices = {part: self._price(index, part) for part in targets}
                best = min(prices, key=prices.__getitem__)
                better = prices[best] < self._price(index, old) * _LOWER
                self._put(index, best if better else old)
                moved += better
            if not moved:
                return

    def improve_by_exchange(self, order: Sequence[int]) -> None:
        """Exchange pairs of units for as long as that lowers the sum: for few, large groups."""
        for _ in range(_EXCHANGE_PASSES):
            changed = False
            for place, index in enumerate(order):
                for other in order[:place]:
                    part = self.part_of[other]
                    if part != self.part_of[index] and (
                        self._trial(index, other, part) < _LOWER_SUM
                    ):
                        self._exchange(index, other, part)
                        changed = True
            if not changed:
                return
