/* The watermark library that the worker loads when the first customer wants it. */
#ifndef THUMB_PLUGIN_H
#define THUMB_PLUGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"
#include "image.h"

/* NULL, or why it could not be loaded. The second call does nothing. */
const char *plugin_load(const char *path);
/* False while nothing is loaded. */
bool plugin_apply(struct image *im);
/* Name of the counted function number at in the library; NULL past the end, or while nothing is loaded. */
const char *plugin_counted(int at, struct counts *to);

#endif
