"""Which waiting task goes to which free agent: filter, then score. No randomness, so that a decision can be replayed.

After a round no lane has work that an agent with a free slot could do. So the next round only looks at lanes that got
work, and agents that got a slot, since then. Where very many qualify, `LOOK` of them are scored, as Nomad and
Kubernetes do, starting where the last look ended: the cost of an assignment stays bounded and nobody is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from agentcom.model.agent import AgentRecord
from agentcom.model.reasons import blames_agent
from agentcom.scheduler.explain import explain_never
from agentcom.scheduler.lanes import LEVELS, Lane, Rank, rank
from agentcom.scheduler.pool import Profile, Slots, bits, profile_key
from agentcom.scheduler.work import Demand, Work

LOOK = 16
"""How many feasible lanes, and how many feasible agents, one decision compares."""

MAX_LANES = 4_096
"""Empty lanes are kept, as judging all agents again costs more than the lane; past this number they are dropped, and
again when there are twice as many as were left."""

NEVER_MS = 1 << 62

PREFERENCE_WEIGHT = 4.0
SURPLUS_WEIGHT = 0.1
SURPLUS_CAP = 20.0
LOAD_WEIGHT = 1.0
SUCCESS_WEIGHT = 0.5
WARM_BONUS = 2.0


class Matcher:
    """Holds the lanes and the profiles, and pairs them."""

    def __init__(self, age_ms: int) -> None:
        self._age_ms = age_ms
        self._aged_went = False
        """The last that was given went before fresh work for its age: now fresh work has its turn, so that a backlog of
        aged work makes it wait for as long again, and not to its end."""
        self._lanes: dict[tuple[int, frozenset[str], str], Lane] = {}
        self._lane_at: dict[int, Lane] = {}
        self._lane_slots = Slots()
        self._lanes_bound = MAX_LANES
        self._wary = 0
        """Bit n: the work in lane n avoids an agent that failed it, while another one could take it."""
        self._waiting = [0] * LEVELS
        self._pinned: dict[str, set[int]] = {}
        self._profiles: dict[str, Profile] = {}
        self._profile_at: dict[int, Profile] = {}
        self._profile_slots = Slots()
        self._free = 0
        self._of_agent: dict[str, Profile] = {}
        self._dirty: set[int] = set()
        self._freed: dict[str, AgentRecord] = {}

    # ---------------------------------------------------------------- work

    def push(self, work: Work, *, first: bool = False) -> None:
        """Let a task wait for an agent."""
        lane = self._lane(work.demand, work.avoid, work.held_for)
        lane.push(work, first=first)
        self._note_waiting(lane, work.priority)
        self._dirty.add(lane.index)

    def forget(self, work: Work) -> None:
        """A waiting task ended without having been assigned."""
        if work.queued:
            lane = self._lane(work.demand, work.avoid, work.held_for)
            lane.forget(work)
            self._note_waiting(lane, work.priority)

    def nobody_could(self, demand: Demand) -> str:
        """Why none of the registered agents could ever do this, in one line; empty if one could."""
        lane = self._lane(demand, frozenset())
        if any(not demand.agent or demand.agent in self._profile_at[n].agents for n in bits(lane.capable)):
            return ""
        return explain_never(demand, (profile.agents.values() for profile in self._profiles.values()))

    def waiting(self) -> int:
        """How many tasks wait for an agent."""
        return sum(lane.waiting for lane in self._lanes.values())

    def _lane(self, demand: Demand, avoid: frozenset[str], held_for: str = "") -> Lane:
        key = (id(demand), avoid, held_for)
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= self._lanes_bound:
                self._drop_empty_lanes()
                self._lanes_bound = max(MAX_LANES, 2 * len(self._lanes))
            lane = self._lanes[key] = Lane(self._lane_slots.take(), demand, avoid, held_for)
            self._lane_at[lane.index] = lane
            if avoid:
                self._wary |= 1 << lane.index
            for profile in self._profiles.values():
                self._judge(lane, profile)
        return lane

    def _drop_empty_lanes(self) -> None:
        for key, lane in list(self._lanes.items()):
            if not lane.waiting:
                del self._lanes[key], self._lane_at[lane.index]
                self._lane_slots.give_back(lane.index)
                self._dirty.discard(lane.index)
                keep = ~(1 << lane.index)
                self._wary &= keep
                for profile in self._profiles.values():
                    profile.capable &= keep

    def _note_waiting(self, lane: Lane, level: int) -> None:
        bit = 1 << lane.index
        if lane.only:
            group = self._pinned.setdefault(lane.only, set())
            if lane.waiting:
                group.add(lane.index)
            else:
                group.discard(lane.index)
                if not group:
                    del self._pinned[lane.only]
        elif lane.counts[level]:
            self._waiting[level] |= bit
        else:
            self._waiting[level] &= ~bit

    # -------------------------------------------------------------- agents

    def update(self, agent: AgentRecord) -> None:
        """An agent came, or its link, card or running work changed."""
        key = profile_key(agent.card) if agent.name not in self._of_agent else self._of_agent[agent.name].key
        self._file(agent, key)

    def recard(self, agent: AgentRecord) -> None:
        """An agent presented a card that may differ from its last."""
        self._file(agent, profile_key(agent.card))

    def remove(self, name: str) -> None:
        """The agent is forgotten."""
        profile = self._of_agent.pop(name, None)
        self._freed.pop(name, None)
        if profile is not None:
            profile.remove(name)
            self._note_free(profile)
            self._reconsider(profile)
            if not profile.agents:
                self._drop_profile(profile)

    def _file(self, agent: AgentRecord, key: str) -> None:
        old = self._of_agent.get(agent.name)
        if old is None or old.key != key:
            self.remove(agent.name)
            profile = self._profiles.get(key) or self._new_profile(key, agent)
            self._of_agent[agent.name] = profile
        else:
            profile = old
        profile.update(agent)
        self._note_free(profile)
        if not agent.in_service:
            self._reconsider(profile)
        if agent.free_slots:
            self._freed[agent.name] = agent
        else:
            self._freed.pop(agent.name, None)

    def _reconsider(self, profile: Profile) -> None:
        """One of its agents went away: work that counted on it may now have to go to the agent that it avoids."""
        for waiting in self._waiting:
            self._dirty.update(bits(self._wary & waiting & profile.capable))

    def _new_profile(self, key: str, agent: AgentRecord) -> Profile:
        profile = self._profiles[key] = Profile(self._profile_slots.take(), key, agent.card)
        self._profile_at[profile.index] = profile
        for lane in self._lanes.values():
            self._judge(lane, profile)
        return profile

    def _drop_profile(self, profile: Profile) -> None:
        del self._profiles[profile.key], self._profile_at[profile.index]
        self._profile_slots.give_back(profile.index)
        keep = ~(1 << profile.index)
        for lane in self._lanes.values():
            lane.capable &= keep
            lane.fits.pop(profile.index, None)

    def _note_free(self, profile: Profile) -> None:
        bit = 1 << profile.index
        if profile.idle or profile.partly:
            self._free |= bit
        else:
            self._free &= ~bit

    def _judge(self, lane: Lane, profile: Profile) -> None:
        if profile.could_do(lane.demand):
            lane.capable |= 1 << profile.index
            profile.capable |= 1 << lane.index

    # ------------------------------------------------------------ matching

    def round(self, now: int) -> Iterator[tuple[Work, AgentRecord]]:
        """Pairs, the most urgent work first. The caller puts the work on the agent's `running` before the next."""
        lanes = {self._lane_at[index] for index in self._dirty}
        self._dirty.clear()
        while lanes := lanes | self._lanes_for_freed():
            yield from self._serve(lanes, now)
            lanes = set()
        self._freed.clear()

    @property
    def _aged_ms(self) -> int:
        return NEVER_MS if self._aged_went else self._age_ms

    def _serve(self, lanes: set[Lane], now: int) -> Iterator[tuple[Work, AgentRecord]]:
        heads = [(lane, work) for lane in lanes if (work := lane.head(now, self._aged_ms)) is not None]
        heap: list[tuple[Rank, int]] = [(rank(work, now, self._aged_ms), lane.index) for lane, work in heads]
        heapify(heap)
        while heap:
            listed, index = heappop(heap)
            lane = self._lane_at[index]
            work = lane.head(now, self._aged_ms)
            if work is not None and (place := rank(work, now, self._aged_ms)) > listed:
                heappush(heap, (place, index))
                continue
            agent = self._best_agent(lane, work) if work is not None else None
            if work is None or agent is None:
                continue
            lane.take(work)
            self._aged_went = work.record.retried and now - work.record.ready_at >= self._age_ms
            self._note_waiting(lane, work.priority)
            yield work, agent
            self.update(agent)
            following = lane.head(now, self._aged_ms)
            if following is not None:
                heappush(heap, (rank(following, now, self._aged_ms), index))

    def _lanes_for_freed(self) -> set[Lane]:
        found: set[Lane] = set()
        for name, agent in list(self._freed.items()):
            lanes = self._lanes_for(agent) if agent.free_slots else []
            if not lanes:
                del self._freed[name]
            found.update(lanes)
        return found

    def _lanes_for(self, agent: AgentRecord) -> list[Lane]:
        profile = self._of_agent[agent.name]
        found = [self._lane_at[index] for index in sorted(self._pinned.get(agent.name, ()))
                 if profile.capable >> index & 1]  # fmt: skip
        for waiting in self._waiting:
            for index in bits(waiting & profile.capable, profile.turn):
                lane = self._lane_at[index]
                if self._welcome(lane, agent):
                    found.append(lane)
                    if len(found) >= LOOK:
                        profile.turn = index + 1
                        return found
        return found

    def _best_agent(self, lane: Lane, work: Work) -> AgentRecord | None:
        if lane.only:
            profile = self._of_agent.get(lane.only)
            agent = profile.agents[lane.only] if profile else None
            able = profile is not None and lane.capable >> profile.index & 1
            return agent if agent is not None and able and agent.free_slots else None
        candidates = self._candidates(lane)
        if len(candidates) <= 1:
            return candidates[0][1] if candidates else None
        return min(
            candidates, key=lambda pair: (-self._score(lane, pair[0], pair[1], work), pair[1].used, pair[1].name)
        )[1]

    def _candidates(self, lane: Lane) -> list[tuple[Profile, AgentRecord]]:
        mask = lane.capable & self._free
        share = max(1, LOOK // max(1, mask.bit_count()))
        found: list[tuple[Profile, AgentRecord]] = []
        for index in bits(mask, lane.turn if mask.bit_count() > LOOK else 0):
            profile, taken = self._profile_at[index], 0
            for agent in profile.free():
                if self._welcome(lane, agent):
                    found.append((profile, agent))
                    taken += 1
                    if taken >= share:
                        break
            if len(found) >= LOOK:
                lane.turn = index + 1
                break
        return found

    def _welcome(self, lane: Lane, agent: AgentRecord) -> bool:
        """A retry avoids the agent that failed it, while another can take it."""
        return agent.name not in lane.avoid or not self._others_can(lane)

    def _others_can(self, lane: Lane) -> bool:
        return any(
            agent.in_service and agent.name not in lane.avoid
            for index in bits(lane.capable)
            for agent in self._profile_at[index].agents.values()
        )

    def _score(self, lane: Lane, profile: Profile, agent: AgentRecord, work: Work) -> float:
        fit = lane.fits.get(profile.index)
        if fit is None:
            fit = lane.fits[profile.index] = fitness(lane.demand, profile.card.attributes)
        load = len(agent.running) / agent.card.slots
        return (
            fit - LOAD_WEIGHT * load + SUCCESS_WEIGHT * agent.success + (WARM_BONUS if is_warm(work, agent.name) else 0)
        )


def fitness(demand: Demand, attributes: dict[str, str | int | float | bool]) -> float:
    """Preferences fulfilled, less skill that the task does not need: experts stay free for what only they can do."""
    surplus = min(demand.requirement.surplus(attributes), SURPLUS_CAP)
    return PREFERENCE_WEIGHT * demand.preferences.score(attributes) - SURPLUS_WEIGHT * surplus


def is_warm(work: Work, agent: str) -> bool:
    """Whether this agent made the last attempt and its workspace is worth going on with."""
    last = work.record.attempts[-1] if work.record.attempts else None
    return (
        last is not None and last.agent == agent and last.outcome is not None and not blames_agent(last.outcome.reason)
    )
