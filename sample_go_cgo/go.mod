module example.org/thumbworker

go 1.21
