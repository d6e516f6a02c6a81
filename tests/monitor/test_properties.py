"""Whatever is typed, at whatever size, the screen stays a screen."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agentcom.monitor.live.decoder import Key
from agentcom.monitor.live.draw import draw
from agentcom.monitor.live.keys import BINDINGS, press
from agentcom.monitor.live.state import State
from tests.monitor.pools import DOOM, NOW, picture

NAMES = sorted({name for binding in BINDINGS for name in binding.keys if name not in ("any", "q")})
KEYS = st.sampled_from(NAMES).map(lambda name: Key(name, name if len(name) == 1 else ""))
TEXT = st.text(min_size=1, max_size=8).map(lambda text: Key("paste", text))
PICTURES = (picture(), picture(DOOM), None)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(KEYS, TEXT), max_size=25), st.integers(1, 130), st.integers(1, 40), st.sampled_from(PICTURES))
def test_whatever_is_typed_the_screen_fits(typed, width, height, seen) -> None:  # type: ignore[no-untyped-def]
    state = State()
    screen = draw(state, seen, None, NOW, (width, height))
    for key in typed:
        state = press(state, key, screen.context).state
        screen = draw(state, seen, None, NOW, (width, height))
        assert len(screen.lines) == height
        assert max(line.cell_len for line in screen.lines) <= width
        assert screen.cursor is None or (screen.cursor[0] < height and screen.cursor[1] < width)
