"""What each form of address means. What is refused, and how, is in tests/core/test_settings_refusals.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.settings.addresses import Address, place_name, read_address
from agentcom.settings.rendering import mask_url


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://h", Address(places=(("h", 6379),))),
        ("REDIS://h/", Address(places=(("h", 6379),))),
        ("redis://h:1/2", Address(places=(("h", 1),), db=2)),
        ("redis://h/2?db=3", Address(places=(("h", 6379),), db=3)),
        ("redis://[::1]:7", Address(places=(("::1", 7),))),
        ("redis://:p%40s@h", Address(places=(("h", 6379),), password="p@s")),
        ("redis://u:p:q@h", Address(places=(("h", 6379),), username="u", password="p:q")),
        ("redis://u@h", Address(places=(("h", 6379),), username="u")),
        ("redis://h?username=u&PASSWORD=p%26q", Address(places=(("h", 6379),), username="u", password="p&q")),
        ("redis://h?client_name=c", Address(places=(("h", 6379),), client_name="c")),
        ("redis://u:p@g:1,h/4", Address(places=(("g", 1), ("h", 6379)), username="u", password="p", db=4)),
        ("redis://[::1],[fe80::2]:7,h", Address(places=(("::1", 6379), ("fe80::2", 7), ("h", 6379)))),
        ("redis://h,h:6379,g", Address(places=(("h", 6379), ("g", 6379)))),
        (
            "rediss://h?ssl_cert_reqs=none",
            Address(places=(("h", 6379),), tls=True, tls_options=(("ssl_cert_reqs", "none"),)),
        ),
        ("unix:///a%20b/c", Address(path="/a b/c")),
        ("unix://u:p@/c?db=5", Address(path="/c", username="u", password="p", db=5)),
        ("sentinel://s/main", Address(places=(("s", 26379),), service="main")),
        (
            "sentinel://u:p@s:1,t/a.b/6",
            Address(places=(("s", 1), ("t", 26379)), service="a.b", db=6, username="u", password="p"),
        ),
        ("sentinel://s/main?tls=false", Address(places=(("s", 26379),), service="main")),
        (
            "sentinel://s/main?tls=true&ssl_ca_certs=/ca&sentinel_username=su&sentinel_password=sp",
            Address(places=(("s", 26379),), service="main", tls=True, tls_options=(("ssl_ca_certs", "/ca"),),
                    sentinel_username="su", sentinel_password="sp"),
        ),
    ],
)  # fmt: skip
def test_an_address_is_read(url: str, meant: Address) -> None:
    assert read_address(url) == meant


@given(st.text(max_size=30), st.sampled_from(["", "redis://", "rediss://", "unix://", "sentinel://"]))
def test_any_text_is_an_address_or_is_refused_in_words(rest: str, scheme: str) -> None:
    read = read_address(scheme + rest)
    assert isinstance(read, Address) or (read and "\n" not in read)


@pytest.mark.parametrize("scheme", ["redis", "sentinel"])
@given(st.text(alphabet="ab,:@%/?#&=[]x", max_size=12).map(lambda text: f"SECRET{text}SECRET"))
def test_whatever_was_taken_for_a_password_is_masked(scheme: str, password: str) -> None:
    url = f"{scheme}://user:{password}@g:1,h/0?sentinel_password=p"
    read = read_address(url)
    if isinstance(read, Address) and "SECRET" in read.password:
        assert "SECRET" not in mask_url(url)
        assert "SECRET" not in repr(read)


def test_a_place_is_named_as_people_write_it() -> None:
    assert [place_name(("h", 1)), place_name(("::1", 2))] == ["h:1", "[::1]:2"]
