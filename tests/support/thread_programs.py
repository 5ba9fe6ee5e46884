"""A Go program whose C makes threads in every way, and joins or leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from support.live_programs import OBEY, build_program

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["THREADS", "build_threads"]

_THREADS_C: Final = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void *ends(void *unused) { return unused; }

static void *detaches_itself(void *unused)
{
	pthread_detach(pthread_self());
	return unused;
}

static pthread_t make(void *(*run)(void *), int detached)
{
	pthread_t made;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 128 << 10);
	if (detached) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&made, &attributes, run, NULL) != 0) abort();
	pthread_attr_destroy(&attributes);
	return made;
}

void lose_thread(void) { make(ends, 0); }
void lose_plain(void)
{
	pthread_t made;
	if (pthread_create(&made, NULL, ends, NULL) != 0) abort();
}
void join(void) { pthread_join(make(ends, 0), NULL); }
void detach(void) { pthread_detach(make(ends, 0)); }
void detached(void) { make(ends, 1); }
void detached_itself(void) { make(detaches_itself, 0); }
void join_in_time(void)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	pthread_t made = make(ends, 0);
	if (pthread_timedjoin_np(made, NULL, &until) != 0) abort();
}
"""

_MAIN_GO: Final = r"""
package main

/*
#cgo LDFLAGS: -lpthread
void lose_thread(void);
void lose_plain(void);
void join(void);
void detach(void);
void detached(void);
void detached_itself(void);
void join_in_time(void);
*/
import "C"

import "example.org/prog/obey"

func loseThread()     { C.lose_thread() }
func losePlain()      { C.lose_plain() }
func join()           { C.join() }
func detach()         { C.detach() }
func detached()       { C.detached() }
func detachedItself() { C.detached_itself() }
func joinInTime()     { C.join_in_time() }

var does = map[string]func(int){
	"loseThread": obey.Each(loseThread), "losePlain": obey.Each(losePlain), "join": obey.Each(join),
	"detach": obey.Each(detach), "detached": obey.Each(detached),
	"detachedItself": obey.Each(detachedItself), "joinInTime": obey.Each(joinInTime),
}

func main() { obey.Lines(does) }
"""

THREADS: Final = {
    "loseThread": 30,
    "losePlain": 20,
    "join": 40,
    "detach": 40,
    "detached": 40,
    "detachedItself": 200,
    "joinInTime": 10,
}
"""What it does for a line ``NAME TIMES``, and how often it is asked to."""


def build_threads(folder: Path, go: str, *, compiler: str | None = None) -> Path:
    sources = {"threads.c": _THREADS_C, "main.go": _MAIN_GO} | OBEY
    return build_program(folder, go, sources, "-gcflags=-l", compiler=compiler)
