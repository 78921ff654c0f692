package panics

import "testing"

func TestBefore(t *testing.T) {}

func TestPanics(t *testing.T) { panic("no database") }

func TestAfter(t *testing.T) {}
