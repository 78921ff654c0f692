package shop_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
)

func TestShop(t *testing.T) { RunSpecs(t, "shop") }

var tries int

var _ = Describe("cart", func() {
	It("passes", func() {})
	It("fails", func() { Fail("off by <one> & more") })
	It("errs", func() { panic("no database") })
	It("skipped", func() { Skip("no card reader") })
	PIt("pending", func() {})
	DescribeTable("coin", func(coin string) {
		if coin != "EUR" {
			Fail(coin)
		}
	}, Entry("EUR", "EUR"), Entry("日本円", "日本円"))
	Context("nested", func() { It("größe <&>", func() {}) })
	It("flaky", FlakeAttempts(2), func() {
		tries++
		if tries < 2 {
			Fail("first time unlucky")
		}
	})
})

var _ = AfterSuite(func() { Fail("no cluster to take down") })
