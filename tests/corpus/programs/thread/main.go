// Threads of C: one works on with a block on its stack when the program ends, others have ended.
package main

/*
#cgo LDFLAGS: -lpthread
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static int careful;
static volatile int ready;
static void *job(void *unused)
{
    (void)unused;
    char *volatile scratch = malloc(500);
    scratch[0] = 1;
    if (careful)
        free(scratch);
    return NULL;
}
static void *server(void *unused)
{
    (void)unused;
    char *volatile room = malloc(4000);
    room[0] = 1;
    ready = 1;
    for (;;) {
        usleep(1000);
        room[1] = 2;
    }
}
static void start(int c)
{
    pthread_t thread;
    careful = c;
    pthread_create(&thread, NULL, server, NULL);
    for (int i = 0; i < 50; i++) {
        pthread_create(&thread, NULL, job, NULL);
        pthread_join(thread, NULL);
    }
    while (!ready)
        usleep(1000);
}
*/
import "C"

import "os"

func main() {
	careful := C.int(0)
	if os.Args[1] == "clean" {
		careful = 1
	}
	C.start(careful)
}
