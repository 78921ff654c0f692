import pytest

tries = []


@pytest.fixture
def broken():
    raise RuntimeError("no database")


def test_passes():
    pass


def test_fails():
    assert 8 == 9, "off by <one> & more"


def test_errs(broken):
    pass


def test_fails_and_tears_down_badly(request):
    request.addfinalizer(lambda: 1 / 0)
    assert False


@pytest.mark.skip(reason="no card reader")
def test_skipped():
    pass


@pytest.mark.xfail(reason="rounding")
def test_expected():
    assert False


@pytest.mark.xfail(strict=True)
def test_unexpected():
    pass


@pytest.mark.parametrize("coin", ["EUR", "日本円", "a\nb"])
def test_coin(coin):
    assert coin != "日本円"


class TestNested:
    def test_größe(self):
        pass


def test_flaky():
    tries.append(1)
    assert len(tries) > 1, "first time unlucky"


def test_subtests(subtests):
    for n in range(3):
        with subtests.test("part", n=n):
            assert n != 1
