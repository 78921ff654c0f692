package shop;

import static org.junit.jupiter.api.Assertions.*;
import org.junit.jupiter.api.*;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CartTest {
    static int tries = 0;
    @Test void passes() {}
    @Test void fails() { assertEquals(8, 9, "off by <one>"); }
    @Test void errs() { throw new IllegalStateException("no database"); }
    @Test @Disabled("no card reader") void skipped() {}
    @Test void aborted() { Assumptions.assumeTrue(false, "not here"); }
    @Test void flaky() { assertTrue(++tries > 1, "first time unlucky"); }
    @ParameterizedTest @ValueSource(strings = {"EUR", "日本円"}) void coin(String coin) { assertEquals("EUR", coin); }
}
