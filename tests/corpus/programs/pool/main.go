// A pool in C keeps its buffers for reuse; the leak takes buffers out and does not put them back.
package main

/*
#include <stdlib.h>
struct buffer {
    struct buffer *next;
    char data[200];
};
static struct buffer *idle;
static struct buffer *pool_get(void)
{
    struct buffer *b = idle;
    if (b)
        idle = b->next;
    else
        b = malloc(sizeof *b);
    return b;
}
static void pool_put(struct buffer *b)
{
    b->next = idle;
    idle = b;
}
static void work(int wide, int careful)
{
    struct buffer *some[16];
    for (int i = 0; i < wide; i++)
        some[i] = pool_get();
    for (int i = 0; i < wide; i++)
        if (careful || i)
            pool_put(some[i]);
}
*/
import "C"

import "os"

func process(careful C.int) { C.work(16, careful) }

func main() {
	careful := C.int(0)
	if os.Args[1] == "clean" {
		careful = 1
	}
	for i := 0; i < 200; i++ {
		process(careful)
	}
}
