"""What goes wrong: each fault is a function that does something to the world, and often undoes it later."""

from __future__ import annotations

from collections.abc import Callable

from redis.exceptions import ResponseError

from agentcom.model.messages import AnyRequest, Cordon, Drain, Resume
from tests.simulation.network import CALM, Weather
from tests.simulation.world import Seat, World

Fault = Callable[[World], None]


def schedule(world: World) -> None:
    """Let the scenario's faults happen, and stop when its time of trouble is over."""
    for at_s, name in world.scenario.faults:
        world.loop.at(at_s, FAULTS[name], world)
    world.loop.at(world.scenario.trouble_s, quiet, world)


def quiet(world: World) -> None:
    """From now on nothing goes wrong any more."""
    world.say("quiet", "", "no more faults")
    world.quiet = True
    world.network.weather = CALM
    world.network.cut.clear()
    for server in world.servers:
        server.refusal = None
    world.agents.manners = type(world.agents.manners)(work_s=world.agents.manners.work_s)
    for host in world.hosts.values():
        for disk in host.disks.values():
            disk.full = False
        for run in list(host.runs.values()):
            if run.alive_at is None:
                host.kill(run)
    for seat in (*world.schedulers, *world.sidecars):
        if seat.process is not None:
            seat.process.crash_in = 0
            seat.process.thaw()
        world.start(seat)
    world.disturb("")


# --------------------------------------------------------------- one process


def _seat(world: World, seats: list[Seat]) -> Seat:
    seat = world.random.choice(seats)
    world.disturb(seat.host.name)
    return seat


def _kill(world: World, seats: list[Seat]) -> None:
    seat = _seat(world, seats)
    if seat.process is not None and seat.process.alive:
        world.say("fault", seat.name, "SIGKILL")
        seat.process.kill()
    _restart(world, seat)


def _restart(world: World, seat: Seat) -> None:
    world.loop.after(world.random.choice((0.2, 3.0, 60.0)) * (0.5 + world.random.random()), world.start, seat)


def flap_sidecar(world: World) -> None:
    """SIGKILL, and started again before anybody thinks it dead."""
    seat = _seat(world, world.sidecars)
    if seat.process is not None and seat.process.alive:
        world.say("fault", seat.name, "SIGKILL")
        seat.process.kill()
        world.loop.after(0.2 + 3 * world.random.random(), world.start, seat)


def all_vanish(world: World) -> None:
    """Every agent's machine stops with everything on it, and is started again a little later."""
    world.say("fault", "", "all agents' machines stop")
    for seat in world.sidecars:
        world.disturb(seat.host.name)
        if seat.process is not None:
            seat.process.kill()
        seat.host.power_off()
        world.loop.after(1 + 2 * world.random.random(), world.start, seat)


def _crash(world: World, seats: list[Seat]) -> None:
    """SIGKILL in the middle of something: before or after one of its next effects."""
    seat = _seat(world, seats)
    process = seat.process
    if process is None or not process.alive:
        return
    process.crash_in = world.random.randrange(1, 120)
    world.say("fault", seat.name, f"SIGKILL after {process.crash_in} more steps")

    def killed() -> None:
        world.say("fault", seat.name, "SIGKILL")
        world.disturb(seat.host.name)
        _restart(world, seat)

    process.on_killed.append(killed)


def _freeze(world: World, seats: list[Seat]) -> None:
    seat = _seat(world, seats)
    process = seat.process
    if process is None or not process.alive:
        return
    length_s = world.random.choice((2.0, 15.0, 70.0)) * (0.5 + world.random.random())
    world.say("fault", seat.name, f"SIGSTOP for {length_s:.1f} s")
    process.freeze()

    def thaw() -> None:
        world.say("fault", seat.name, "SIGCONT")
        world.disturb(seat.host.name)
        process.thaw()

    world.loop.after(length_s, thaw)


def _stop(world: World, seats: list[Seat]) -> None:
    """SIGTERM: it is to come to an end in good order, and is started again."""
    seat = _seat(world, seats)
    process = seat.process
    if process is None or not process.alive or seat.service is None:
        return
    world.say("fault", seat.name, "SIGTERM")
    if seat.member is not None:
        process.call(seat.service.stop)
    else:
        process.call(process._tasks[0].cancel)


def _cut(world: World, seats: list[Seat]) -> None:
    seat = _seat(world, seats)
    length_s = world.random.choice((2.0, 15.0, 90.0)) * (0.5 + world.random.random())
    machine = seat.host.name
    world.say("fault", machine, f"cut off for {length_s:.1f} s")
    world.network.cut.add(machine)

    def mend() -> None:
        world.network.cut.discard(machine)
        world.disturb(machine)
        world.say("fault", machine, "reachable again")

    world.loop.after(length_s, mend)


# ------------------------------------------------------------ network, servers


def storm(world: World) -> None:
    """For a while much is lost, doubled, late, and cut."""
    random = world.random
    share = random.choice((0.02, 0.1, 0.3))
    kinds = random.sample(("lost", "unanswered", "reset", "reset_after", "very_slow", "partly"), 3)
    weather = world.network.weather = Weather(**dict.fromkeys(kinds, share / 3))
    length_s = random.choice((3.0, 20.0))
    world.say("fault", "network", f"{share:.0%} of requests are {', '.join(sorted(kinds))}, for {length_s:g} s")

    def calm() -> None:
        if world.network.weather is weather:
            world.network.weather = CALM
            world.disturb("")
            world.say("fault", "network", "calm")

    world.loop.after(length_s, calm)


def redis_crash(world: World, lost_s: float = 0.0) -> None:
    """The primary is killed, and comes back with what its append-only file has."""
    server = world.primary
    if world.in_change:
        return
    world.in_change = True
    again = world.fork(server) if lost_s else server

    def crash() -> None:
        world.say("fault", server.name, f"the server is killed; {lost_s:.2f} s of writes are lost")
        server.crash()
        again.up = False
        down_s = world.random.choice((0.3, 4.0, 20.0)) * (0.5 + world.random.random())
        world.loop.after(down_s, back)

    def back() -> None:
        again.up, again.loading = True, True
        world.primary = again
        world.loop.after(world.random.random() * 2, loaded)

    def loaded() -> None:
        again.loading = world.in_change = False
        world.disturb("")
        world.say("fault", again.name, "the server is back")

    world.loop.after(lost_s, crash)


def redis_crash_losing(world: World) -> None:
    redis_crash(world, world.random.random())


def fail_over(world: World) -> None:
    """A replica takes over that lacks the last writes, and not everybody learns of it at once."""
    old = world.primary
    if world.in_change:
        return
    world.in_change = True
    new = world.fork(old)
    lost_s, random = world.random.choice((0.1, 1.0, 5.0)) * world.random.random(), world.random

    def promote() -> None:
        world.say("fault", new.name, f"takes over from {old.name}; {lost_s:.2f} s of writes are lost")
        world.route_all(old)
        world.primary = new
        until_s = random.choice((0.0, 1.0, 4.0))
        for machine in world.hosts:
            world.loop.after(until_s * random.random(), world.reroute, machine)
        world.loop.after(until_s * random.random(), old.demote)
        world.loop.after(until_s + 0.1, end)

    def end() -> None:
        old.crash()
        world.in_change = False
        world.disturb("")

    world.loop.after(lost_s, promote)


def redis_refuses(world: World) -> None:
    """The server answers, and takes no writes: its disk is full, a script is long, its replicas are gone."""
    server, random = world.primary, world.random
    word = random.choice(("MISCONF", "BUSY", "NOREPLICAS"))
    length_s = random.choice((2.0, 15.0)) * (0.5 + random.random())
    refusal = server.refusal = ResponseError(f"{word} as drawn")
    world.say("fault", server.name, f"it refuses writes with {word} for {length_s:.1f} s")

    def over() -> None:
        if server.refusal is refusal:
            server.refusal = None
            world.disturb("")
            world.say("fault", server.name, "it takes writes again")

    world.loop.after(length_s, over)


def redis_clock_jump(world: World) -> None:
    """The server's wall clock is set: its idle times, its keys' ends and its entries' ids are made of it."""
    jump_s = world.random.choice((-600.0, -5.0, 5.0, 600.0)) * world.random.random()
    world.clock_ms += int(jump_s * 1000)
    world.disturb("")
    world.say("fault", world.primary.name, f"its clock jumps by {jump_s:.1f} s")


# ------------------------------------------------------------------ machines


def power_off(world: World) -> None:
    """A machine stops with everything on it, and is started again."""
    seat = _seat(world, world.sidecars)
    world.say("fault", seat.host.name, "power failure")
    for other in world.sidecars:
        if other.host is seat.host:
            if other.process is not None:
                other.process.kill()
            _restart(world, other)
    seat.host.power_off()


def clock_jump(world: World) -> None:
    """A machine's wall clock is set; who runs has its steady clock, who is started next has the new time."""
    seat = _seat(world, [*world.sidecars, *world.schedulers])
    jump_s = world.random.choice((-5.0, 5.0, -900.0, 900.0)) * world.random.random()
    seat.host.offset_ms += int(jump_s * 1000)
    world.say("fault", seat.host.name, f"its clock jumps by {jump_s:.1f} s")
    if seat.process is not None:
        seat.process.kill()
    _restart(world, seat)


def disk_full(world: World) -> None:
    seat = _seat(world, world.sidecars)
    disks = list(seat.host.disks.values())
    world.say("fault", seat.host.name, "its disk is full")
    for disk in disks:
        disk.full = True

    def freed() -> None:
        world.say("fault", seat.host.name, "its disk has room")
        for disk in disks:
            disk.full = False

    world.loop.after(20 * world.random.random(), freed)


def second_sidecar(world: World) -> None:
    """Somebody starts a sidecar with a name that another one has, on another machine."""
    member = world.random.choice(world.scenario.members)
    seat = Seat(world.host(f"x{len(world.sidecars)}"), member)
    world.say("fault", seat.name, "a second sidecar of this name is started")
    world.sidecars.append(seat)
    world.start(seat)


def out_of_service(world: World) -> None:
    """A person takes an agent out of service, and back later."""
    name = world.random.choice(world.scenario.members).name
    kind = world.random.choice((Cordon, Drain))
    world.say("fault", name, f"{kind.__name__.lower()} is asked for")
    requests: list[AnyRequest] = [kind(agent=name)]
    world.desk.start(world.person.send(requests))
    back: list[AnyRequest] = [Resume(agent=name)]
    world.loop.after(30 * world.random.random(), lambda: world.desk.start(world.person.send(back)))


FAULTS: dict[str, Fault] = {
    "flap_sidecar": flap_sidecar,
    "all_vanish": all_vanish,
    "kill_scheduler": lambda world: _kill(world, world.schedulers),
    "kill_sidecar": lambda world: _kill(world, world.sidecars),
    "crash_scheduler": lambda world: _crash(world, world.schedulers),
    "crash_sidecar": lambda world: _crash(world, world.sidecars),
    "freeze_scheduler": lambda world: _freeze(world, world.schedulers),
    "freeze_sidecar": lambda world: _freeze(world, world.sidecars),
    "stop_scheduler": lambda world: _stop(world, world.schedulers),
    "stop_sidecar": lambda world: _stop(world, world.sidecars),
    "cut_scheduler": lambda world: _cut(world, world.schedulers),
    "cut_sidecar": lambda world: _cut(world, world.sidecars),
    "storm": storm,
    "redis_crash": redis_crash,
    "redis_crash_losing": redis_crash_losing,
    "fail_over": fail_over,
    "redis_refuses": redis_refuses,
    "redis_clock_jump": redis_clock_jump,
    "power_off": power_off,
    "clock_jump": clock_jump,
    "disk_full": disk_full,
    "second_sidecar": second_sidecar,
    "out_of_service": out_of_service,
}
