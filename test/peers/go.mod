module bundle/test/peers

go 1.26.0
