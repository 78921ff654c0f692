#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#include <stdexcept>
TEST_CASE("passes") { CHECK(1 == 1); CHECK(2 == 2); CHECK(3 == 3); }
TEST_CASE("fails") { CHECK(8 == 9); CHECK(8 == 10); }
TEST_CASE("errs") { throw std::runtime_error("no database"); }
TEST_CASE("no assertion") {}
TEST_CASE("expected", "[!shouldfail]") { CHECK(8 == 9); }
TEST_CASE("hidden", "[.]") { CHECK(false); }
TEST_CASE("nested") { SECTION("größe <&>") { CHECK(true); } SECTION("日本円") { CHECK(false); } }
