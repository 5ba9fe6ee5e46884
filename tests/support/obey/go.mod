module example.org/obey

go 1.19
