module fanout/benchmarks/go

go 1.18
