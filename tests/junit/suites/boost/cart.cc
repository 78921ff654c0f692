#define BOOST_TEST_MODULE shop
#include <boost/test/included/unit_test.hpp>
#include <boost/test/data/test_case.hpp>
#include <stdexcept>
namespace utf = boost::unit_test;
BOOST_AUTO_TEST_SUITE(cart)
BOOST_AUTO_TEST_CASE(passes) { BOOST_TEST(1 == 1); BOOST_TEST(2 == 2); }
BOOST_AUTO_TEST_CASE(fails) { int nine = 9; BOOST_TEST(8 == nine); BOOST_TEST(7 == nine); }
BOOST_AUTO_TEST_CASE(errs) { throw std::runtime_error("no database"); }
BOOST_AUTO_TEST_CASE(skipped, *utf::disabled()) {}
BOOST_AUTO_TEST_CASE(after_failure, *utf::depends_on("cart/fails")) {}
BOOST_AUTO_TEST_CASE(expected, *utf::expected_failures(1)) { int nine = 9; BOOST_TEST(8 == nine); }
BOOST_DATA_TEST_CASE(coin, utf::data::make({"EUR", "日本円"})) { BOOST_TEST(std::string(sample) == "EUR"); }
BOOST_AUTO_TEST_SUITE(nested)
BOOST_AUTO_TEST_CASE(size) { BOOST_TEST(true); }
BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE_END()
