/* Exact counts per allocating function, kept by the module itself.
 *
 * This is the ground truth that a leak finder is compared with, block for block and byte for byte. A count belongs to the function of
 * ours that is nearest to malloc. A realloc counts as the end of the old block, at the function that made it, and the birth of a new
 * one at the function that called realloc. Nothing in here allocates.
 */
#ifndef THUMB_COUNTERS_H
#define THUMB_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(identifier, name of the function as a symbolizer prints it) */
#define COUNTED_FUNCTIONS(X)                                                                       \
  X(image_new, "image_new")                                                                        \
  X(row_sums_new, "row_sums_new")                                                                  \
  X(histogram_new, "histogram_new")                                                                \
  X(strbuf_grow, "strbuf_grow")                                                                    \
  X(row_index_grow, "row_index_grow")                                                              \
  X(meta_title, "meta_title")                                                                      \
  X(meta_caption, "meta_caption")                                                                  \
  X(meta_first_line, "meta_first_line")                                                            \
  X(tile_new_posix, "tile_new_posix")                                                              \
  X(tile_new_c11, "tile_new_c11")                                                                  \
  X(tile_new_memalign, "tile_new_memalign")                                                        \
  X(make_text_layer, "thumb::make_text_layer")                                                     \
  X(text_layer_text, "thumb::TextLayer::TextLayer")                                                \
  X(make_frame_layer, "thumb::make_frame_layer")                                                   \
  X(overlay_layers, "thumb::Overlay::Overlay")                                                     \
  X(annotation_new, "annotation_new")                                                              \
  X(job_scratch_new, "job_scratch_new")                                                            \
  X(blur_row_new, "blur_row_new")                                                                  \
  X(blur_kernel_new, "blur_kernel_new")                                                            \
  X(cache_entry_new, "cache_entry_new")                                                            \
  X(pool_slab_new, "pool_slab_new")                                                                \
  X(texture_new, "texture_new")                                                                    \
  X(session_note_new, "session_note_new")                                                          \
  X(session_blob_new, "session_blob_new")                                                          \
  X(storm_block_new, "storm_block_new")                                                            \
  X(map_tile, "map_tile")                                                                          \
  X(hammer_small, "hammer_small")                                                                  \
  X(hammer_medium, "hammer_medium")                                                                \
  X(hammer_zeroed, "hammer_zeroed")                                                                \
  X(hammer_grown, "hammer_grown")

enum counted {
#define X(id, name) AT_##id,
  COUNTED_FUNCTIONS(X)
#undef X
      COUNTED_TOTAL
};

/* All four only ever grow. */
struct counts {
  uint64_t allocs, alloc_bytes, frees, free_bytes;
};

void count_alloc(enum counted at, size_t bytes);
void count_free(enum counted at, size_t bytes);
/* Many at once, for loops too hot to share a cache line with. */
void count_many(enum counted at, const struct counts *more);

const char *counted_name(int at); /* NULL past the end */
struct counts counted_read(int at);

#ifdef __cplusplus
}
#endif
#endif
