#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <stdexcept>
TEST_CASE("passes") { CHECK(1 == 1); CHECK(2 == 2); CHECK(3 == 3); }
TEST_CASE("fails") { CHECK(8 == 9); CHECK(8 == 10); }
TEST_CASE("errs") { throw std::runtime_error("no database"); }
TEST_CASE("skipped" * doctest::skip()) {}
TEST_CASE("expected" * doctest::should_fail()) { CHECK(8 == 9); }
TEST_CASE("unexpected" * doctest::should_fail()) { CHECK(8 == 8); }
TEST_CASE("nested") { SUBCASE("größe <&>") { CHECK(true); } SUBCASE("日本円") { CHECK(false); } }
