// A list in C that is never emptied: reachable to the last block, and growing all the same. The
// clean twin empties it. It runs for twelve seconds, since growth takes time to see.
package main

/*
#include <stdlib.h>
struct event {
    struct event *next;
    char text[100];
};
static struct event *events;
static void event_add(void)
{
    struct event *e = malloc(sizeof *e);
    e->next = events;
    events = e;
}
static void events_read(void)
{
    while (events) {
        struct event *e = events;
        events = e->next;
        free(e);
    }
}
*/
import "C"

import (
	"os"
	"time"
)

func emit() { C.event_add() }

func main() {
	for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		emit()
		if os.Args[1] == "clean" {
			C.events_read()
		}
	}
}
