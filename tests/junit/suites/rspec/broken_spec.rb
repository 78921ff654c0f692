raise "no cluster"
