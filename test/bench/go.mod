module bundle/test/bench

go 1.26.0
