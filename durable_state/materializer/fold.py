"""The fold: prepared batches in, rows, staged entities, letters and counters out.

Used inside one transaction that the consumer opens; see consumer/commits.py. What the shown rows
must equal is the ten-line fold in docs/architecture.md, for any splitting of the stream into
batches.

Why: decision 13.
"""

from __future__ import annotations

from collections.abc import Sequence

from durable_state.conf import get_settings
from durable_state.databases.clock import database_now
from durable_state.models import DeadLetter, Generation, Replay, Stream, entity_digest
from durable_state.protocol import ControlKind, Malformed

from .batch.compaction import EntityChanges
from .batch.prepared_batch import PreparedBatch, Segment
from .batch.sampling import Sample
from .changes import Outcome
from .letters import Letter, LetterBox, SilentLetterBox
from .parked.lot import ParkingLot
from .plan import StreamPlan
from .shown.shown import ShownRows
from .staged.generations import drop_generation
from .staged.staging import copy_staged, stage
from .staged.switch import switch
from .typebook import ReplayTypeBook, SilentTypeBook, TypeBook

__all__ = ["Fold"]

RETRIED = 5
"""Protected deletes that each commit tries again, oldest first, since each costs some statements.
An idle worker tries all of them.
"""


class Fold:
    """The state of one stream's fold during one transaction.

    ``rebuild`` is the generation that is to replace the shown rows; where it is None, the shown
    rows are folded themselves. ``snapshot`` is the generation of an open snapshot. Changes go to
    the snapshot if one is open, else to the rebuild, else to the rows. A fold whose rebuild is a
    VERIFY generation is only compared: it never switches, and writes nothing but its generations.
    One of a ``replay`` writes these, letters of its own, and what it passes over into the replay;
    where that is of one type only, nothing of the others is folded, nor counted.
    """

    def __init__(
        self,
        stream: Stream,
        rebuild: Generation | None,
        snapshot: Generation | None,
        replay: Replay | None = None,
    ) -> None:
        self._only = "" if replay is None else replay.entity_type
        self.stream = stream
        self.rebuild = rebuild
        self.snapshot = snapshot
        settings = get_settings()
        self.outcome = Outcome(settings.feed_entry_rows, settings.feed_value_rows)
        self._using = stream.using
        self._plans = StreamPlan(stream)
        self._lot = ParkingLot(stream)
        self._rows = ShownRows(self._plans, self._lot, self.outcome)
        self.last_reason = self.last_detail = self.last_type = ""
        """Of the newest letter."""
        self._met: set[str] = set()
        self._dropped: list[Generation] = []

        self._only_compares = rebuild is not None and rebuild.purpose == Generation.Purpose.VERIFY
        self._shows = replay is None and not self._only_compares
        if self._only_compares:
            self._letters: LetterBox = SilentLetterBox(stream)
            self._types: TypeBook = SilentTypeBook(stream)
        elif replay is not None:
            self._letters = LetterBox(stream, replayed=True)
            self._types = ReplayTypeBook(stream, replay)
        else:
            self._letters, self._types = LetterBox(stream), TypeBook(stream)

    def apply(self, batch: PreparedBatch, *, up_to_date: bool) -> Outcome:
        """Folds the next batch; ``up_to_date`` says that the stream's tail is reached after it.

        Raises: StreamHalted, with nothing to be committed; database errors other than refused rows.
        """
        for segment in batch.segments:
            self._flush(segment)
            if segment.control is not None:
                self._control(segment.control)

        self.outcome.txids |= batch.txids
        self._write_malformed(batch.malformed)
        self._take_samples(batch.samples)

        # At the tail, what was staged since a reset is shown.
        if (
            up_to_date
            and self.rebuild is not None
            and not self._waits_for_snapshot(self.rebuild)
            and not self._only_compares
        ):
            self._switch(self.rebuild, all_types=True)
            self._drop(self.rebuild)
            self.rebuild = None

        if self._shows:
            self._settle(every=False)
        return self.outcome

    def _waits_for_snapshot(self, rebuild: Generation) -> bool:
        """Whether the old rows stay until the open snapshot ends, because it follows a reset, or
        nothing else is staged.
        """
        if self.snapshot is None:
            return False
        return (
            rebuild.purpose == Generation.Purpose.RESET
            or not rebuild.staged.using(self._using).exists()
        )

    def release(self) -> Outcome:
        """Shows what is parked and can be shown, without any message; tries all polled changes."""
        self._settle(every=True)
        return self.outcome

    def _settle(self, *, every: bool) -> None:
        self._retry_protected(every=every)
        if letters := self._rows.settle(every=every):
            self.outcome.letters_written = True
            self._letters.write(letters)

    def _retry_protected(self, *, every: bool) -> None:
        """Deletes rows whose entities the stream deleted, if nothing protects them any more."""
        protected = self._letters.protected(self.stream.ordinal, None if every else RETRIED)
        for entity_type, keys in protected.items():
            plan = self._plans.find(entity_type)
            if plan is None or not self._plans.ownership.has(plan.mapping):
                continue
            refused = self._rows.remove(plan, [plan.key_value(key) for key in keys])
            gone = [plan.digest(key) for key in keys if key not in refused]
            self._lot.remove(gone)
            self._letters.remove(DeadLetter.SHOWN, gone)

    def forget_dropped(self) -> bool:
        """Deletes the generations that were dropped; to be called once the stream's row points to
        none of them.

        Returns False if something is left for ``sweep_generations``.
        """
        left = [generation for generation in self._dropped if not drop_generation(generation)]
        return not left

    def take_over(self, replay: Replay, left: Sequence[Generation]) -> None:
        """Replaces what the stream has met so far by what ``replay`` has, whose rebuild is this
        fold's. ``left`` are the stream's own generations, which are dropped.

        To be called before ``apply``.
        """
        for generation in left:
            self._letters.drop(generation.pk)
            self._dropped.append(generation)
        self._letters.take_over_replayed()
        self._types.take_over(replay)

    def show_type(self, generation: Generation, entity_type: str) -> bool:
        """Makes the rows of one type equal to what the generation holds of it; the others stay.

        Returns False, with nothing changed, if another mapping than the present one staged it.
        """
        plan = self._plans.find(entity_type)
        if plan is None:
            return False
        staged_by = generation.types.get(entity_type, plan.mapping.fingerprint)
        if staged_by != plan.mapping.fingerprint:
            return False

        self._plans.ownership.claim(plan.mapping)
        rows = (self._rows, self._lot, self._letters, self.outcome)
        switch(generation, [plan], *rows, all_types=False)
        generation.changes = 0
        self._types.renew([plan])
        self._drop(generation)
        self._settle(every=False)
        return True

    def letter_count(self) -> int:
        """The number of dead letters that the stream, or its replay, has now."""
        return self._letters.count(
            [each.pk for each in (self.rebuild, self.snapshot) if each is not None]
        )

    def _flush(self, segment: Segment) -> None:
        """Takes the changes between two controls to where they belong."""
        target = self.snapshot or self.rebuild
        accepted: dict[str, list[EntityChanges]] = {}

        # Types without a mapping are passed over; the others are staged, or shown together.
        for entity_type, entities in segment.entities.items():
            if self._only not in ("", entity_type):
                continue
            plan = self._plans.find(entity_type)
            if plan is None or (target is None and not self._types.accepts(plan)):
                self._pass_over(target, entity_type, sum(map(len, entities)))
                continue
            if entity_type in segment.faults:
                raise segment.faults[entity_type]
            accepted[entity_type] = entities
            self._met.add(entity_type)
            if target is None:
                self._plans.ownership.claim(plan.mapping)
            else:
                stage(target, plan, entities)
        if target is None and accepted:
            self._rows.apply(accepted)

        for entity_type, entities_of_type in accepted.items():
            self._account(target, entity_type, entities_of_type)

    def _account(
        self, target: Generation | None, entity_type: str, entities: list[EntityChanges]
    ) -> None:
        """Counts what became of each change, and writes or deletes letters."""
        outcome = self.outcome

        # The first disposition of each message, also of those that a later one has replaced.
        messages, refused, no_row, parked = len(entities), 0, 0, 0
        for entity in entities:
            if entity.older is not None:
                messages += len(entity.older)
            if entity.refused is not None:
                refused += len(entity.refused)
            no_row += entity.no_row
            parked += entity.parked
        good = messages - refused - no_row - parked
        outcome.dead_letters += refused
        outcome.no_row += no_row
        outcome.parked += parked

        if target is None:
            outcome.applied += good
        else:
            target.changes += good
            plan = self._plans.find(entity_type)
            fingerprint = "" if plan is None else plan.mapping.fingerprint
            known = target.types.setdefault(entity_type, fingerprint)
            target.types[entity_type] = fingerprint if known == fingerprint else ""
            target.save(using=self._using, update_fields=["changes", "types"])

        # An accepted change supersedes the older letter of its entity.
        generation = DeadLetter.SHOWN if target is None else target.pk
        made_good = (entity for entity in entities if entity.accepted and entity.letter is None)
        self._letters.remove(
            generation, (entity_digest(entity_type, entity.key) for entity in made_good)
        )

        letters = [entity.letter for entity in entities if entity.letter is not None]
        if letters:
            outcome.letters_written = True
            refusal = letters[-1].refusal
            self.last_reason, self.last_detail = refusal.code, refusal.detail
            self.last_type = entity_type
            self._letters.write(map(Letter.of_change, letters), generation=generation)

    def _control(self, kind: ControlKind) -> None:
        self.outcome.control += 1
        if kind is ControlKind.RESET:
            purpose = (
                Generation.Purpose.RESET
                if self.rebuild is None
                else Generation.Purpose(self.rebuild.purpose)
            )
            self._drop(self.snapshot)
            self._drop(self.rebuild)
            self.rebuild, self.snapshot = self._open(purpose), None
        elif kind is ControlKind.SNAPSHOT_START:
            self._drop(self.snapshot)
            self.snapshot = self._open(Generation.Purpose.SNAPSHOT)
        elif self.snapshot is not None:
            self._end_snapshot(self.snapshot)
            self.snapshot = None

    def _end_snapshot(self, snapshot: Generation) -> None:
        if self.rebuild is None:
            self._switch(snapshot, all_types=get_settings().snapshot_scope == "stream")
            self._drop(snapshot)
            return
        if get_settings().snapshot_scope == "types":
            self._keep_other_types(self.rebuild, snapshot)
        purpose = self.rebuild.purpose
        self._drop(self.rebuild)
        self.rebuild = snapshot
        self.rebuild.purpose = purpose
        self.rebuild.save(using=self._using, update_fields=["purpose"])
        if purpose == Generation.Purpose.RESET:
            self._switch(self.rebuild, all_types=True)
            self._drop(self.rebuild)
            self.rebuild = None

    def _keep_other_types(self, rebuild: Generation, snapshot: Generation) -> None:
        """Copies the types that the snapshot does not hold from the rebuild into it."""
        spoken = list(snapshot.types)
        moved = copy_staged(rebuild, snapshot, without=spoken)
        snapshot.types = rebuild.types | snapshot.types
        self._letters.carry(rebuild.pk, snapshot.pk, spoken)
        rebuild.changes -= moved
        snapshot.changes += moved
        snapshot.save(using=self._using, update_fields=["changes", "types"])

    def _switch(self, generation: Generation, *, all_types: bool) -> None:
        unfit = set()
        for entity_type, fingerprint in generation.types.items():
            if (plan := self._plans.find(entity_type)) is None:
                continue
            self._plans.ownership.claim(plan.mapping)
            if fingerprint != plan.mapping.fingerprint:
                # A part of it was staged by no mapping, or by another: the rows stay as they are.
                unfit.add(entity_type)
                self._types.demand_reset(plan)
        plans = [plan for plan in self._plans.all() if all_types or plan.type in generation.types]
        plans = [plan for plan in plans if plan.type not in unfit]
        switch(
            generation,
            plans,
            self._rows,
            self._lot,
            self._letters,
            self.outcome,
            all_types=all_types,
        )
        generation.changes = 0
        self._types.renew(plans)
        if all_types:
            # The others have no table of this stream's, and the generation holds nothing of them.
            shown = {plan.type for plan in plans} | unfit
            self._types.forget_all_but(shown)

    def _open(self, purpose: str) -> Generation:
        purpose = Generation.Purpose.VERIFY if self._only_compares else purpose
        return Generation.objects.using(self._using).create(
            stream=self.stream, purpose=purpose, created_at=database_now(self._using)
        )

    def _drop(self, generation: Generation | None) -> None:
        """Drops a generation; what it still holds was superseded."""
        if generation is None:
            return
        self.outcome.superseded += generation.changes
        self._letters.drop(generation.pk)
        self._dropped.append(generation)

    def _pass_over(self, target: Generation | None, entity_type: str, messages: int) -> None:
        self.outcome.unregistered += messages
        self.outcome.passed_over[entity_type] += messages
        if target is not None:
            target.types[entity_type] = ""
            target.save(using=self._using, update_fields=["types"])
        self._types.pass_over(entity_type, messages)

    def _take_samples(self, samples: dict[str, Sample]) -> None:
        for entity_type in self._met & samples.keys():
            self._types.sample(entity_type, samples[entity_type])

    def _write_malformed(self, malformed: list[tuple[int, Malformed]]) -> None:
        if self._only:
            return
        self.outcome.dead_letters += len(malformed)
        if malformed:
            self.outcome.letters_written = True
            self.last_reason, self.last_detail = malformed[-1][1].reason, ""
            self._letters.write_malformed(malformed)
