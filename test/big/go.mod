module bundle/test/big

go 1.26.0
