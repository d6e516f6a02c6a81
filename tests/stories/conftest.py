import pytest

from tests.stories.pool import FakePool


@pytest.fixture(params=["one leader", "a new leader after every commit"])
def pool(request: pytest.FixtureRequest) -> FakePool:
    """Every story is told twice: who leads, and for how long, must make no difference."""
    return FakePool(reload=request.param != "one leader")
