module bundle/test/scale

go 1.26.0
