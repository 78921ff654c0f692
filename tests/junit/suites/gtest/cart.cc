#include <gtest/gtest.h>
#include <stdexcept>
TEST(Cart, Passes) {}
TEST(Cart, Fails) { EXPECT_EQ(8, 9) << "off by <one> & more"; EXPECT_TRUE(false); }
TEST(Cart, Errs) { throw std::runtime_error("no database"); }
TEST(Cart, Skipped) { GTEST_SKIP() << "no card reader"; }
TEST(Cart, DISABLED_Later) {}
class Coins : public testing::TestWithParam<const char*> {};
TEST_P(Coins, Coin) { EXPECT_STREQ("EUR", GetParam()); }
INSTANTIATE_TEST_SUITE_P(All, Coins, testing::Values("EUR", "日本円"));
class Broken : public testing::Test { public: static void SetUpTestSuite() { FAIL() << "no cluster"; } };
TEST_F(Broken, Never) {}
