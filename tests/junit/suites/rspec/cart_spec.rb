RSpec.describe "cart" do
  it("passes") { expect(1).to eq 1 }
  it("fails") { expect(9).to eq(8), "off by <one> & more" }
  it("errs") { raise "no database" }
  xit("skipped") { raise "never" }
  it("expected") { pending "rounding"; expect(9).to eq 8 }
  it("unexpected") { pending "rounding"; expect(8).to eq 8 }
  %w[EUR 日本円].each { |coin| it("coin #{coin}") { expect(coin).to eq "EUR" } }
  describe("nested") { it("größe <&>") {} }
end
