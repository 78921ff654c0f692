setup_file() { echo "no cluster"; false; }
@test "never" { true; }
@test "neither" { true; }
