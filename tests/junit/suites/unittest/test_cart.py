import unittest


class Cart(unittest.TestCase):
    def test_passes(self):
        """Adds up"""

    def test_fails(self):
        self.assertEqual(8, 9, "off by <one> & more")

    def test_errs(self):
        raise RuntimeError("no database")

    @unittest.skip("no card reader")
    def test_skipped(self):
        pass

    @unittest.expectedFailure
    def test_expected(self):
        self.fail("rounding")

    @unittest.expectedFailure
    def test_unexpected(self):
        pass

    def test_coins(self):
        for coin in ["EUR", "日本円"]:
            with self.subTest(coin=coin):
                self.assertNotEqual(coin, "日本円")

    def test_größe(self):
        pass


class SetUpFails(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError("no cluster")

    def test_never(self):
        pass
