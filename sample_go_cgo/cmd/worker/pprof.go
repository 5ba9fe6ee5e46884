//go:build !nopprof

package main

// As most services have it; without it the linker turns the profile of the heap off.
import _ "net/http/pprof"
