/* Memory of the module that lives longer than a request: a cache, a pool, sessions, textures, and a storm. */
#ifndef THUMB_KEEP_H
#define THUMB_KEEP_H

#include <stddef.h>
#include <stdint.h>

/* cache.c: remembers pictures. Fills to a fixed number of entries and stays there. */
void cache_remember(uint64_t key, const uint8_t *body, size_t len);

/* pool.c: slabs of work space; their number goes up and down with the time of day (a short day). */
void pool_follow_demand(void);

/* session.c */
struct texture;
struct texture *texture_new(size_t bytes);
void texture_free(struct texture *t);
void session_tick(void);                /* one small note more, for good */
void session_open(const uint8_t *body, size_t len); /* a large blob more, for good */

/* storm.c: threads of C allocate many blocks at once, and free all but a scattered few. Returns when they have ended. */
void storm_run(unsigned threads, unsigned blocks, size_t bytes, unsigned keep_every);

#endif
