@test "passes" { true; }
@test "fails <&> größe" { echo "off by one"; false; }
@test "errs" { no_such_program; }
@test "skipped" { skip "no card reader"; }
@test "日本円" { true; }
