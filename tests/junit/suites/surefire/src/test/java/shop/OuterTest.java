package shop;

import org.junit.jupiter.api.*;

class OuterTest {
    @Test void passes() {}
    @Nested class Inner { @Test void größe() {} }
}
