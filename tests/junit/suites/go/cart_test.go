package shop

import (
	"os"
	"testing"
)

func TestPasses(t *testing.T) {}

func TestFails(t *testing.T) { t.Errorf("off by <one> & more") }

func TestSkipped(t *testing.T) { t.Skip("no card reader") }

func TestCoin(t *testing.T) {
	for _, coin := range []string{"EUR", "日本円"} {
		t.Run(coin, func(t *testing.T) {
			if coin != "EUR" {
				t.Fatal(coin)
			}
		})
	}
}

func TestGröße(t *testing.T) {}

func TestFlaky(t *testing.T) {
	if _, err := os.Stat("seen"); err != nil {
		_ = os.WriteFile("seen", nil, 0o600)
		t.Fatal("first time unlucky")
	}
}
